"""`hpml grade`: a class's submissions → nbgrader's gradebook, feedback pages, grades.csv. The referee judges; nbgrader keeps the book.

    COURSE/submitted/STUDENT/LAB/LAB.ipynb    what was handed in; only read
           release/LAB/LAB.ipynb              what was handed out; default: what the labs make
           gradebook.db                       nbgrader's, for formgrader and its other tools
           autograded/STUDENT/LAB/            the sanitised notebook, with the verdicts in it
           feedback/STUDENT/LAB/LAB.html      for `nbgrader release_feedback`
           graded/LAB/STUDENT/EXERCISE.json   the verdicts, with their evidence; what is there is not judged again
           grades.csv                         all labs, from the gradebook

Run it again after grading texts in formgrader: nothing is judged twice, and feedback and grades.csv take in what was written there.
Pending is not zero: what nobody can hold against a student (too noisy, a referee that failed, a text to be read) has no score.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpml import course
from hpml.course import CourseError, Lab, nearest
from hpml.grade import jobs as work
from hpml.grade.jobs import GIVE_UP, Engine, Job, Judge, NoJail, Stopped, verdict_on
from hpml.verdict import Outcome, Verdict


@dataclass
class Graded:
    """One student after grading."""

    student: str
    verdicts: dict[str, Verdict]
    marks: Any                          # hpml.grade.record.Marks
    notes: list[str] = field(default_factory=list)
    fault: str | None = None

    def summary(self, lab: Lab) -> dict[str, Any]:
        """What `--json` prints of it."""
        from hpml.grade import record
        exercises = [{**v.summary(), "score": self.marks[n].score, "pending": self.marks[n].pending, "by_hand": self.marks[n].by_hand}
                     for n, v in self.verdicts.items() if n in self.marks]
        return {"student": self.student, "lab": lab.lab, "total": record.total(self.marks), "max": lab.points,
                "late_penalty": self.marks.late.penalty, "pending": [n for n, m in self.marks.items() if m.pending],
                "fault": self.fault, "notes": self.notes, "exercises": exercises}


class Grading:
    """One run of `hpml grade` over a course folder."""

    def __init__(self, lab: Lab, folder: Path, judge: Judge, *, db: str | None = None, exercises: Iterable[str] | None = None,
                 force: bool = False, unjailed: bool = False, execute: bool = False, wait: bool = False,
                 engine: Callable[[], Engine] | None = None) -> None:
        """`judge` judges one student after the other, unless there is an `engine`, which is made when its turn has come."""
        from hpml.grade import collect, journal, record
        self.lab, self.folder, self.judge, self.force, self.unjailed = lab, folder, judge, force, unjailed
        self.execute, self.wait, self.engine = execute, wait, engine
        self.exercises = list(lab.exercises) if exercises is None else list(exercises)
        self.db = record.url(folder, db)
        self.release = collect.release(lab, folder)
        self.journal = journal.Journal(folder, lab)
        self._apart: set[str] | None = None

    def run(self, students: list[str], seen: Callable[[Graded], None]) -> list[Graded]:
        """Grade these students; `seen` is called after each. Raises CourseError; what was done until then stands."""
        from hpml.grade import collect, engine, journal, record
        done: dict[str, Graded] = {}
        waiting: dict[str, tuple[collect.Submission, int]] = {}         # how many of their jobs are out
        ready: deque[collect.Submission] = deque()
        with journal.lock(self.folder, self.wait), record.Gradebook(self.db, self.release, self.folder) as book:
            journal.tidy(self.folder, self.lab, students)
            runs = self.engine() if self.engine else engine.Serial(self.judge)

            def write() -> None:
                while ready and not runs.measuring:
                    found = ready.popleft()
                    first = found.student not in done
                    done[found.student] = self._write(found, book)
                    if first:
                        seen(done[found.student])

            def jobs() -> Iterator[Job]:
                for student in students:
                    found = collect.collect(self.folder, student, self.release)
                    todo = self._jobs(found, runs)
                    if todo:
                        waiting[student] = found, len(todo)
                        yield from todo
                    else:
                        ready.append(found)
                        write()

            try:
                for job, result in work.run(runs, self.lab, jobs()):
                    self._keep(job, result)
                    found, out = waiting.pop(job.student, (None, 1))
                    if out > 1:
                        waiting[job.student] = found, out - 1           # type: ignore[assignment]
                    else:                                               # else it was tried again, after the others
                        ready.append(found or collect.collect(self.folder, job.student, self.release))
                    write()
                for student in list(waiting):                           # whose notebook could not be run
                    ready.append(waiting.pop(student)[0])
                write()
            except (KeyboardInterrupt, Stopped):
                self._export(book)                      # the table of what is done
                raise
            finally:
                runs.close()
            self._export(book)
        return [done[s] for s in students]

    def _keep(self, job: Job, result: list[Verdict] | work.Outputs) -> None:
        """Journal what an engine found."""
        if isinstance(result, dict):
            if result:                                  # else it may go better the next time
                self.journal.execute(job.student, self.journal.notebook_key(job.notebook or ""), result)
            return
        self._guarded(result)
        hashes = self.journal.keys(job.answers)
        for verdict in result:
            self.journal.keep(job.student, hashes[verdict.exercise], verdict)

    def _jobs(self, found: Any, runs: Engine) -> list[Job]:
        """What has to be done about one submission; what is clear without running anything is journaled."""
        from hpml.grade import collect
        made: list[Job] = []
        if exercises := self._without_referee(found):
            job = Job(found.student, found.answers, exercises, self.lab.lab)
            if runs.split:
                from hpml.referee import evidence
                secret = evidence.key(make=True) or b""
                job = replace(job, seed=None if self.force else work.seed(secret, self.journal.lab_hash, found.answers))
                self._apart = work.alone(self.lab) if self._apart is None else self._apart
                made = work.split(job, self._apart)
            else:
                made = [job]
        if self.execute and found.notebook:
            text = collect.code(found.notebook)
            old = self.journal.executed(found.student)
            if self.force or old is None or old[0] != self.journal.notebook_key(text):
                made.append(Job(found.student, {}, [], self.lab.lab, notebook=text))
        return made

    def _guarded(self, verdicts: list[Verdict]) -> None:
        if not self.unjailed and any(v.jail == "none" and v.outcome is not Outcome.INFRASTRUCTURE for v in verdicts):
            raise NoJail("The referee ran without a jail. Install bubblewrap, or say --unjailed if there is nothing to guard here.")

    def _without_referee(self, found: Any) -> list[str]:
        """Journal what is clear without running anything; return the exercises that the referee has to judge."""
        hashes = self.journal.keys(found.answers)
        open_: list[str] = []

        def clear(name: str, outcome: Outcome, message: str) -> None:
            self.journal.keep(found.student, hashes[name], verdict_on(self.lab, name, outcome, message))

        for name in self.exercises:
            manual = self.lab.exercises[name].kind == "manual"
            problem = found.fault or found.problems.get(name)
            if problem:
                clear(name, Outcome.MALFORMED, problem)
            elif manual and self.release.untouched(name, found.answers[name]):
                clear(name, Outcome.NOT_ATTEMPTED, "There is no answer.")
            elif manual:
                clear(name, Outcome.NEEDS_MANUAL, "A person reads this answer.")
            else:
                old = self.journal.load(found.student, name)
                if self.force or old is None or old[0] != hashes[name] or old[1].outcome.pending:
                    if not self.force and (same := self.journal.same(hashes[name], name)):
                        self.journal.keep(found.student, hashes[name], same)
                    else:
                        open_.append(name)
        return open_

    def _write(self, found: Any, book: Any) -> Graded:
        """Gradebook, sanitised notebook and feedback of one student, from what the journal holds."""
        import nbformat

        from hpml import report
        from hpml.build import write
        from hpml.grade import collect, feedback
        name, hashes, recorded = self.lab.lab, self.journal.keys(found.answers), self.journal.recorded(found.student)
        entries = {key: entry for key in self.lab.exercises if (entry := self.journal.load(found.student, key))}
        verdicts = {key: verdict for key, (hashed, verdict) in entries.items() if hashed == hashes[key]}
        marks = book.record(found, verdicts, {key for key in verdicts if recorded.get(key) != hashes[key]})
        self.journal.record(found.student, recorded | {key: hashes[key] for key in verdicts})
        place = self.folder / "autograded" / found.student / name
        shown = {key: feedback.shown(verdict) for key, verdict in verdicts.items()}
        reports = {key: report.html(verdict) for key, verdict in shown.items()}
        notebook = found.notebook or collect.placeholder(self.release, found.fault or "")
        executed = self.journal.executed(found.student) if found.notebook else None
        if executed and executed[0] == self.journal.notebook_key(collect.code(notebook)):
            collect.show(notebook, executed[1])
        for cell in notebook.cells:                     # where the checks are, so that formgrader shows them beside the answers
            key = str(cell.metadata.get("nbgrader", {}).get("grade_id", "")).removeprefix("check-")
            if cell.cell_type == "code" and key in reports and cell.metadata.nbgrader.grade:
                data = {"text/html": reports[key], "text/plain": report.text(shown[key])}
                cell.outputs = [nbformat.v4.new_output("display_data", data)]
        write(place / f"{name}.ipynb", (nbformat.writes(notebook) + "\n").encode())
        for file, content in self.release.files.items():
            write(place / file, content)
        write(self.folder / "feedback" / found.student / name / f"{name}.html",
              feedback.page(found, self.release, verdicts, reports, marks).encode())
        feedback.for_exchange(self.folder, found.student, name)
        small = {key: verdict.model_copy(update={"picture": None}) for key, verdict in verdicts.items()}     # a class is many pictures
        return Graded(found.student, small, marks, found.notes, found.fault)

    def _export(self, book: Any) -> None:
        """grades.csv from the gradebook, which knows what instructors have changed: all labs, all students."""
        from hpml.grade import journal, record
        classes = {}
        known = {a.name for a in book.book.assignments}
        for lab in course.load().ready():
            if lab.lab in known and (graded := book.graded(lab)):
                kept = journal.Journal(self.folder, lab)
                outcomes = {s: {key: e[1].outcome for key in lab.exercises if (e := kept.load(s, key))} for s in graded}
                classes[lab.lab] = (lab, graded, outcomes)
        record.export(self.folder / "grades.csv", classes)


def _chosen(folder: Path, lab: Lab, wanted: list[str] | None) -> list[str]:
    """The students to grade. Raises CourseError where there are none."""
    from hpml.grade import collect
    if not (folder / "submitted").is_dir():
        raise CourseError(f"there is no folder {folder / 'submitted'}. Name the course folder with --course; it holds "
                          f"submitted/STUDENT/{lab.lab}/{lab.lab}.ipynb, as `nbgrader collect` puts it there")
    there, odd = collect.students(folder, lab)
    for name in odd:
        print(f"hpml grade: left out: the folder {name!r} in submitted/ is not named like a student (letters, digits, . _ @ -).",
              file=sys.stderr)
    for name in wanted or ():
        if name not in there:
            raise CourseError(f"{name!r} has not submitted {lab.lab}{nearest(name, there)}")
    if not there:
        raise CourseError(f"nobody has submitted {lab.lab}: there is no {folder / 'submitted'}/*/{lab.lab}. Collect first: "
                          f"nbgrader collect {lab.lab}")
    return [s for s in there if s in wanted] if wanted else there


def main(argv: list[str], judge: Judge | None = None) -> int:
    """Run `hpml grade`. Returns 0, 1 if the referee failed on something, 2 if it was called in a wrong way. `judge` stands in for the
    referee in tests."""
    parser = argparse.ArgumentParser(prog="hpml grade", description="Grade a class: submitted/ → gradebook, feedback, grades.csv.",
                                     epilog="Example: hpml grade 04-conv-gemm --course ~/course. Run it again at any time: it judges "
                                            "only what is new.")
    parser.add_argument("lab")
    parser.add_argument("--course", type=Path, default=Path(), metavar="DIR", help="the course folder; default: here")
    parser.add_argument("--student", action="append", metavar="ID", help="only this student; may be repeated")
    parser.add_argument("--exercise", action="append", metavar="KEY", help="judge only this exercise; may be repeated")
    parser.add_argument("--force", action="store_true", help="judge again what has been judged; a score is never lowered by it")
    parser.add_argument("--db", metavar="URL", help="the gradebook, as SQLAlchemy writes it; default: gradebook.db in the course folder")
    parser.add_argument("--engine", default="local", metavar="WHERE", help="local (default): all cores of this machine; slurm: nodes as "
                        "`engine:` in course.yml asks for them; or the address of a Dask scheduler, such as tcp://head:8786")
    parser.add_argument("--workers", type=int, metavar="N", help="jobs side by side (local) or nodes (slurm)")
    parser.add_argument("--wait", action="store_true", help="wait where somebody else is grading in this course folder")
    parser.add_argument("--no-execute", action="store_true", help="do not run the notebooks: no plots in autograded/ and feedback")
    parser.add_argument("--unjailed", action="store_true", help="run students' code although there is no jail on this machine")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    options = parser.parse_args(argv)
    from hpml.grade import show
    ready: Engine | None = None
    running = False
    try:
        lab = course.load().lab(options.lab)
        for key in options.exercise or ():
            if key not in lab.exercises:
                raise CourseError(f"{lab.lab} has no exercise {key!r}{nearest(key, list(lab.exercises))}")
        folder = options.course.expanduser().resolve()
        if options.workers is not None and options.workers < 1:
            raise CourseError(f"--workers {options.workers}: at least one has to work")
        if judge is None and options.engine == "local":             # elsewhere the workers look for themselves
            if not options.unjailed:
                guarded()
            ready = _warm(lab, folder, options.workers, options.force)
        students = _chosen(folder, lab, options.student)
        grading = Grading(lab, folder, judge or (lambda *_: []), db=options.db, exercises=options.exercise, force=options.force,
                          unjailed=options.unjailed, execute=judge is None and not options.no_execute, wait=options.wait)
        running = True
        graded = with_referee(grading, students, judge, options.engine, options.workers, ready)
    except CourseError as e:
        print(f"hpml grade: {e}", file=sys.stderr)
        return 1 if running and not isinstance(e, NoJail) else 2
    finally:
        if ready:
            ready.close()
    if options.json:
        print(json.dumps([g.summary(lab) for g in graded], indent=1))
    else:
        show.class_table(lab, graded, folder, grading.db)
    return 1 if any(v.outcome is Outcome.INFRASTRUCTURE for g in graded for v in g.verdicts.values()) else 0


def _warm(lab: Lab, folder: Path, workers: int | None, force: bool) -> Engine | None:
    """Referees that import their frameworks while this process imports nbgrader; none where every submission was graded before."""
    from hpml.grade import engine
    handed_in = {path.parent.name for path in (folder / "submitted").glob(f"*/{lab.lab}")}
    if not handed_in or not (force or any(not (folder / "graded" / lab.lab / name).is_dir() for name in handed_in)):
        return None
    made = engine.Local(workers)
    made.warm(lab.lab, len(handed_in))
    return made


def guarded() -> None:
    """Raise NoJail where students' code would run without one."""
    from hpml.referee import jail
    wanted = course.load().jail
    if jail.choose(wanted) == "none":
        problem = "course.yml says `jail: none`" if wanted == "none" else jail.bubblewrap_problem()
        raise NoJail(f"students' code would run without a jail: {problem}. Grading on such a machine would let it read and change "
                     "everything that you can. If that is nothing worth guarding (a container, say), add --unjailed.")


def with_referee(grading: Grading, students: list[str], judge: Judge | None = None, engine: str = "local",
                 workers: int | None = None, ready: Engine | None = None) -> list[Graded]:
    """Run the grading, with progress on the terminal, on an engine of its own unless `judge` stands in or one is `ready`."""
    from hpml.grade import show
    from hpml.grade.engine import start
    if judge:
        grading.judge = judge
    else:
        grading.engine = lambda: ready or start(engine, workers, grading.unjailed)
    with show.progress(grading.lab, len(students)) as seen:
        return grading.run(students, seen)


__all__ = ["GIVE_UP", "Grading", "Job", "Judge", "main", "with_referee"]
