"""The one writer into nbgrader's gradebook, through nbgrader's own API, so that formgrader and its other tools go on from there.

What a person has graded is never overwritten: manual scores, extra credit and comments stay, and where an answer has changed since,
the gradebook only says that it needs to be read again.
"""

from __future__ import annotations

import csv
import datetime
import importlib.util
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpml import theme
from hpml.build import write
from hpml.course import CourseError, Lab
from hpml.grade.collect import Release, Submission, _quiet, grade_id
from hpml.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Mark:
    """One exercise of one student as the gradebook holds it. `score` is None where nobody can say yet."""

    score: float | None
    max_score: float
    pending: bool                       # a person or another run has to look at it
    by_hand: bool
    comment: str | None = None          # an instructor's


@dataclass(frozen=True)
class Late:
    """What the gradebook says about when it was handed in. Times are UTC, as nbgrader keeps them; `due` includes the extension."""

    due: datetime.datetime | None = None
    extension: datetime.timedelta | None = None
    seconds: float = 0.0                # handed in that much later
    penalty: float = 0.0                # points taken off for it


class Marks(dict[str, Mark]):
    """Exercise → mark, of one student in one lab."""

    late: Late = Late()


def url(course: Path, db: str | None = None) -> str:
    """The gradebook: `db`, else what the folder's nbgrader_config.py names, else gradebook.db in it."""
    from hpml.grade import settings
    named = str(db or settings.config(course).CourseDirectory.get("db_url") or f"sqlite:///{course / 'gradebook.db'}?timeout=60")
    if importlib.util.find_spec("psycopg") is None:         # the driver that is installed, where the address leaves it open
        named = re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", named)
    return named


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Errors of the database as sentences."""
    import sqlalchemy.exc
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as e:
        what = str(getattr(e, "orig", None) or e).splitlines()[0]
        shown = _shown(url)
        hint = ("Close the program that holds it and grade again." if "locked" in what else
                "A gradebook of an older nbgrader is brought up to date by `nbgrader db upgrade`." if "no such" in what else
                "See that the address given with --db is right, and that you may write there.")
        raise CourseError(f"The gradebook {shown} cannot be used: {what}. {hint}") from None
    except ModuleNotFoundError as e:
        raise CourseError(f"The gradebook {_shown(url)} needs the Python package {e.name}, which is not installed here.") from None


def _shown(url: str) -> str:
    """The address without its password."""
    import sqlalchemy
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return repr(url)


@contextmanager
def _own_tools() -> Iterator[None]:
    """nbgrader runs `alembic` from the PATH when it makes a database; it lies beside our Python, activated or not."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


class Gradebook:
    """nbgrader's gradebook, open for one lab; without `handed_out` only to be read. Penalties for late work need the course `folder`."""

    def __init__(self, url: str, handed_out: Release | None = None, folder: Path | None = None) -> None:
        import nbgrader.api
        from nbgrader.preprocessors import SaveCells

        self.url, self.folder = url, folder
        with _explained(url):
            with _own_tools():
                self.book: Any = nbgrader.api.Gradebook(url)
            if handed_out is None:
                return
            self.lab = handed_out.lab
            name = self.lab.lab
            due = {"duedate": self.lab.due} if self.lab.due else {}     # what an instructor set in formgrader stays where we say nothing
            self.book.update_or_create_assignment(name, **due)
            resources = {"nbgrader": {"notebook": name, "assignment": name, "db_url": url}}
            try:
                SaveCells(log=_quiet).preprocess(handed_out.notebook, resources)
            except RuntimeError:
                self.close()
                raise CourseError(f"The gradebook holds submissions of another version of {name}, with other cells. Grade them with that "
                                  "version's release/, or begin a new gradebook with --db.") from None

    def close(self) -> None:
        self.book.close()

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def record(self, found: Submission, verdicts: Mapping[str, Verdict], changed: set[str]) -> Marks:
        """Write the scores of one student. `changed` names the exercises whose answer the gradebook has not seen before."""
        from sqlalchemy.exc import SAWarning
        name, book = self.lab.lab, self.book
        with _explained(self.url), warnings.catch_warnings():
            # nbgrader fills a submission in before it adds it to its session
            warnings.filterwarnings("ignore", "Object of type .* not in session", SAWarning)
            book.update_or_create_student(found.student)
            stamp = {"timestamp": found.timestamp} if found.timestamp else {}
            submission = book.update_or_create_submission(name, found.student, **stamp)
            if not submission.notebooks:            # made before the lab had a notebook: it holds nothing but, perhaps, an extension
                extension = submission.extension
                book.remove_submission(name, found.student)
                book.update_or_create_submission(name, found.student, extension=extension, **stamp)
            notebook = book.find_submission_notebook(name, name, found.student)
            grades, comments = {g.name: g for g in notebook.grades}, {c.name: c for c in notebook.comments}
            for key, verdict in verdicts.items():
                grade = grades[grade_id(self.lab, key)]
                pending = verdict.outcome.pending
                grade.auto_score = None if pending else verdict.score
                again = grade.manual_score is not None and (grade.needs_manual_grade or key in changed)
                grade.needs_manual_grade = again or (grade.manual_score is None and pending)
                comments[key].auto_comment = _comment(verdict)
            book.db.commit()
            self._penalise(found.student)
            return self.marks(found.student)

    def _penalise(self, student: str) -> None:
        """Let nbgrader's own step take off points for late work, and give them back after an extension."""
        import nbformat

        from hpml.grade import settings
        name = self.lab.lab
        submission = self.book.find_submission(name, student)
        late = submission.assignment.duedate is not None and submission.total_seconds_late > 0
        before = self.book.find_submission_notebook(name, name, student).late_submission_penalty
        if self.folder is None or not (late or before):
            return
        resources = {"nbgrader": {"notebook": name, "assignment": name, "student": student, "db_url": self.url}}
        self.book.db.commit()                       # it has a connection of its own
        with settings.penalties(self.folder) as step:
            step.preprocess(nbformat.v4.new_notebook(), resources)
        self.book.db.expire_all()

    def marks(self, student: str, lab: Lab | None = None) -> Marks:
        """What the gradebook says about one student's exercises."""
        lab = lab or self.lab
        found = self.book.find_submission_notebook(lab.lab, lab.lab, student)
        grades = {g.name: g for g in found.grades}
        comments = {c.name: c.manual_comment for c in found.comments}
        made = Marks()
        handed_in = self.book.find_submission(lab.lab, student)
        made.late = Late(handed_in.duedate if handed_in.assignment.duedate else None, handed_in.extension,
                         float(handed_in.total_seconds_late) if handed_in.assignment.duedate else 0.0,
                         float(found.late_submission_penalty or 0.0))
        for key, entry in lab.exercises.items():
            grade = grades.get(grade_id(lab, key))
            if grade is None:
                continue                            # graded with an older version of the lab
            known = grade.auto_score is not None or grade.manual_score is not None
            made[key] = Mark(float(grade.score) if known else None, entry.points, bool(grade.needs_manual_grade) or not known,
                             grade.manual_score is not None or bool(grade.extra_credit), comments.get(key))
        return made

    def names(self) -> set[str]:
        """The labs that it knows."""
        with _explained(self.url):
            return {a.name for a in self.book.assignments}

    def graded(self, lab: Lab) -> dict[str, Marks]:
        """Student → marks, for every submission of a lab."""
        with _explained(self.url):
            return {s.student.id: self.marks(s.student.id, lab) for s in self.book.assignment_submissions(lab.lab) if s.notebooks}


def _comment(verdict: Verdict) -> str | None:
    """What formgrader shows beside an answer that is not right. nbgrader's pages may show it as markdown: no tags from a student."""
    if verdict.passed:
        return None
    said = f"{verdict.outcome}: {verdict.message}" + (f" Hint: {verdict.hint}" if verdict.hint else "")
    return theme.visible(said).replace("<", "‹").replace(">", "›")


def total(marks: Marks) -> float:
    """Points, less those taken off for late work."""
    return max(0.0, sum(m.score or 0.0 for m in marks.values()) - marks.late.penalty)


Classes = Mapping[str, tuple[Lab, Mapping[str, Marks], Mapping[str, Mapping[str, Outcome]]]]       # lab → (lab, marks, outcomes)


def export(path: Path, classes: Classes) -> None:
    """Write grades.csv, all of it or nothing."""
    write(path, table(classes).encode())


def table(classes: Classes) -> str:
    """A line per student and lab, a column per exercise, empty where the score is pending."""
    columns = list(dict.fromkeys(key for lab, _, _ in classes.values() for key in lab.exercises))
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    fixed = ("student", "lab", "total", "max", "outcomes", "pending", "late_penalty")
    rows.writerow(["student", "lab", *(f"{c} (exercise)" if c in fixed else c for c in columns), *fixed[2:]])
    for lab, graded, outcomes in classes.values():
        for student, marks in sorted(graded.items()):
            scores = [f"{marks[c].score:g}" if c in marks and marks[c].score is not None else "" for c in columns]
            said = "; ".join(f"{key}: {outcome}" for key, outcome in outcomes.get(student, {}).items())
            rows.writerow([student, lab.lab, *scores, f"{total(marks):g}", f"{lab.points:g}", said,
                            " ".join(key for key, m in marks.items() if m.pending), f"{marks.late.penalty:g}"])
    return out.getvalue()
