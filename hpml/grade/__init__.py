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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpml import course
from hpml.course import CourseError, Lab, nearest
from hpml.verdict import Outcome, Verdict

Judge = Callable[[str, dict[str, str], list[str]], list[Verdict]]      # (lab, answers, which) → their verdicts
RETRIES = (Outcome.TOO_NOISY, Outcome.INFRASTRUCTURE)                  # queued once more before they are pending
GIVE_UP = 3                                                            # jobs in a row without a referee


class NoJail(CourseError):
    """Students' code would run unguarded."""


class Stopped(CourseError):
    """The referee fails again and again."""


@dataclass(frozen=True)
class Job:
    """What the referee has to say about one student: `exercises` of `answers`."""

    student: str
    answers: dict[str, str]
    exercises: list[str]


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
        exercises = [{**v.summary(), "score": self.marks[n].score, "pending": self.marks[n].pending, "by_hand": self.marks[n].by_hand}
                     for n, v in self.verdicts.items() if n in self.marks]
        return {"student": self.student, "lab": lab.lab, "total": sum(m.score or 0.0 for m in self.marks.values()), "max": lab.points,
                "pending": [n for n, m in self.marks.items() if m.pending], "fault": self.fault, "notes": self.notes,
                "exercises": exercises}


def map_jobs(judge: Judge, lab: Lab, jobs: Iterable[Job]) -> Iterator[tuple[Job, list[Verdict]]]:
    """Run every job; what was too noisy or failed on our side comes a second time, after all others."""
    from hpml.referee.client import RefereeError
    again: list[Job] = []
    failures = 0

    def run(job: Job) -> list[Verdict]:
        nonlocal failures
        try:
            verdicts = judge(lab.lab, job.answers, job.exercises)
            failures = 0
            return verdicts
        except (RefereeError, CourseError) as e:
            failures += 1
            if failures >= GIVE_UP:
                raise Stopped(f"The referee failed {failures} times in a row, so grading stopped: {e} What was graded is kept; "
                              "run the same command again when this is mended.") from None
            return [verdict_on(lab, name, Outcome.INFRASTRUCTURE, f"The referee could not check `{name}`: {e} This is not your fault, "
                                                                 "and nothing is lost.") for name in job.exercises]

    for job in jobs:
        verdicts = run(job)
        yield job, verdicts
        if retry := [v.exercise for v in verdicts if v.outcome in RETRIES]:
            again.append(Job(job.student, job.answers, retry))
    for job in again:
        yield job, run(job)


def verdict_on(lab: Lab, name: str, outcome: Outcome, message: str, hint: str | None = None) -> Verdict:
    """A verdict that needs no referee."""
    return Verdict(lab=lab.lab, exercise=name, outcome=outcome, score=0.0, max_score=lab.exercises[name].points, message=message, hint=hint)


class Grading:
    """One run of `hpml grade` over a course folder."""

    def __init__(self, lab: Lab, folder: Path, judge: Judge, *, db: str | None = None, exercises: Iterable[str] | None = None,
                 force: bool = False, unjailed: bool = False) -> None:
        from hpml.grade import collect, journal, record
        self.lab, self.folder, self.judge, self.force, self.unjailed = lab, folder, judge, force, unjailed
        self.exercises = list(lab.exercises) if exercises is None else list(exercises)
        self.db = db or record.default_url(folder)
        self.release = collect.release(lab, folder)
        self.journal = journal.Journal(folder, lab)

    def run(self, students: list[str], seen: Callable[[Graded], None]) -> list[Graded]:
        """Grade these students; `seen` is called after each. Raises CourseError; what was done until then stands."""
        from hpml.grade import collect, journal, record
        done: dict[str, Graded] = {}
        with journal.lock(self.folder), record.Gradebook(self.db, self.release) as book:
            waiting: dict[str, collect.Submission] = {}

            def jobs() -> Iterator[Job]:
                for student in students:
                    found = collect.collect(self.folder, student, self.release, self.db)
                    open_ = self._without_referee(found)
                    if open_:
                        waiting[student] = found
                        yield Job(student, found.answers, open_)
                    else:
                        done[student] = self._write(found, book)
                        seen(done[student])

            try:
                for job, verdicts in map_jobs(self.judge, self.lab, jobs()):
                    self._guarded(verdicts)
                    hashes = self.journal.keys(job.answers)
                    for verdict in verdicts:
                        self.journal.keep(job.student, hashes[verdict.exercise], verdict)
                    first = job.student not in done
                    done[job.student] = self._write(waiting[job.student], book)
                    if first:
                        seen(done[job.student])
            except (KeyboardInterrupt, Stopped):
                self._export(book)                      # the table of what is done
                raise
            self._export(book)
        return [done[s] for s in students]

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
    parser.add_argument("--unjailed", action="store_true", help="run students' code although there is no jail on this machine")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    options = parser.parse_args(argv)
    from hpml.grade import show
    try:
        lab = course.load().lab(options.lab)
        for key in options.exercise or ():
            if key not in lab.exercises:
                raise CourseError(f"{lab.lab} has no exercise {key!r}{nearest(key, list(lab.exercises))}")
        folder = options.course.expanduser().resolve()
        students = _chosen(folder, lab, options.student)
        if judge is None and not options.unjailed:
            guarded()
        grading = Grading(lab, folder, judge or (lambda *_: []), db=options.db, exercises=options.exercise, force=options.force,
                          unjailed=options.unjailed)
    except CourseError as e:
        print(f"hpml grade: {e}", file=sys.stderr)
        return 2
    try:
        graded = with_referee(grading, students, judge)
    except CourseError as e:
        print(f"hpml grade: {e}", file=sys.stderr)
        return 2 if isinstance(e, NoJail) else 1
    if options.json:
        print(json.dumps([g.summary(lab) for g in graded], indent=1))
    else:
        show.class_table(lab, graded, folder, grading.db)
    return 1 if any(v.outcome is Outcome.INFRASTRUCTURE for g in graded for v in g.verdicts.values()) else 0


def guarded() -> None:
    """Raise NoJail where students' code would run without one."""
    from hpml.referee import jail
    wanted = course.load().jail
    if jail.choose(wanted) == "none":
        problem = "course.yml says `jail: none`" if wanted == "none" else jail.bubblewrap_problem()
        raise NoJail(f"students' code would run without a jail: {problem}. Grading on such a machine would let it read and change "
                     "everything that you can. If that is nothing worth guarding (a container, say), add --unjailed.")


def with_referee(grading: Grading, students: list[str], judge: Judge | None = None) -> list[Graded]:
    """Run the grading, with progress on the terminal, and with a referee of its own unless `judge` stands in."""
    from hpml.grade import show
    from hpml.referee.client import Referee
    with Referee(purpose="grade") as referee, show.progress(grading.lab, len(students)) as seen:
        grading.judge = judge or referee.judge
        return grading.run(students, seen)


__all__ = ["Grading", "Job", "Judge", "main", "map_jobs"]
