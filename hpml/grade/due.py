"""`hpml due`: when a lab is due, and who may have longer. nbgrader's gradebook keeps both; its late-submission plugin takes off points.

What that plugin does stands in the course folder's nbgrader_config.py: `c.LateSubmissionPlugin.penalty_method = "zero"`, or a plugin of
one's own, as nbgrader documents it. Without either, late work is marked as late and loses nothing.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpml import course, theme
from hpml.course import CourseError, Lab
from hpml.grade import collect, feedback, journal, record

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(said: str) -> datetime.datetime:
    """"2026-12-01 23:59", in UTC unless it names an offset such as +01:00. Raises CourseError."""
    try:
        if len(said) <= 10:
            raise ValueError
        return datetime.datetime.fromisoformat(said)
    except ValueError:
        raise CourseError(f"{said!r} is not a date with a time of day; write it like '2026-12-01 23:59' (UTC) or "
                          "'2026-12-01 23:59+01:00'") from None


def extension(said: str) -> tuple[str, datetime.timedelta]:
    """"ada=2d" → ("ada", two days); 0d takes it back. Raises CourseError."""
    found = re.fullmatch(r"(.+)=(\d+)([mhdw])", said)
    if not found or not collect.STUDENT.fullmatch(found[1]):
        raise CourseError(f"{said!r} does not say who may have how much longer; write it like ada=2d (m, h, d or w; 0d takes it back)")
    return found[1], datetime.timedelta(**{UNITS[found[3]]: int(found[2])})


def extend(book: record.Gradebook, student: str, longer: datetime.timedelta) -> None:
    """Write an extension down; it replaces an earlier one, and holds for a submission that has yet to come."""
    from nbgrader.api import MissingEntry, SubmittedAssignment
    db, name = book.book, book.lab.lab
    try:
        submission = db.find_submission(name, student)
    except MissingEntry:                # without notebooks: nothing is handed in yet
        submission = SubmittedAssignment(assignment=db.find_assignment(name), student=db.update_or_create_student(student))
        db.db.add(submission)
    submission.extension = longer or None
    db.db.commit()


def show(book: record.Gradebook, lab: Lab) -> None:
    """Print the date, the extensions, and who is late."""
    console = Console()
    due = book.book.find_assignment(lab.lab).duedate
    console.print(Text(f"{lab.lab} is due {feedback.when(due)}." if due else f"{lab.lab} has no due date."))
    table = Table("student", "longer", "handed in late by", "taken off")
    for submission in sorted(book.book.assignment_submissions(lab.lab), key=lambda s: str(s.student.id)):
        seconds = submission.total_seconds_late if due else 0
        if submission.extension or seconds:
            taken = sum(n.late_submission_penalty or 0 for n in submission.notebooks)
            table.add_row(Text(theme.visible(submission.student.id)),
                          feedback.duration(submission.extension.total_seconds()) if submission.extension else "",
                          feedback.duration(seconds) if seconds else "", theme.plain(taken) if seconds else "")
    if table.row_count:
        console.print(table)


def main(argv: list[str]) -> int:
    """Run `hpml due`. Returns 0, or 2 if it was called in a wrong way."""
    parser = argparse.ArgumentParser(prog="hpml due", description="When a lab is due, and who may have longer.",
                                     epilog="Example: hpml due 04-conv-gemm --course ~/course --extend ada=2d")
    parser.add_argument("lab")
    parser.add_argument("--course", type=Path, default=Path(), metavar="DIR", help="the course folder; default: here")
    parser.add_argument("--at", metavar="WHEN", help="the date, such as '2026-12-01 23:59' (UTC); `due:` in course.yml goes before it")
    parser.add_argument("--extend", action="append", default=[], metavar="STUDENT=TIME", help="such as ada=2d; may be repeated")
    parser.add_argument("--db", metavar="URL", help="the gradebook; default: the course folder's")
    options = parser.parse_args(argv)
    try:
        lab = course.load().lab(options.lab)
        folder = options.course.expanduser().resolve()
        at = moment(options.at) if options.at else None
        if at and lab.due:
            raise CourseError(f"course.yml says when {lab.lab} is due; change it there")
        longer = [extension(said) for said in options.extend]
        with journal.lock(folder), record.Gradebook(record.url(folder, options.db), collect.release(lab, folder), folder) as book:
            if at:
                book.book.update_or_create_assignment(lab.lab, duedate=at)
            for student, time in longer:
                extend(book, student, time)
            show(book, lab)
    except CourseError as e:
        print(f"hpml due: {e}", file=sys.stderr)
        return 2
    if at or longer:
        print(f"To take this into scores and feedback: hpml grade {lab.lab} --course {folder}")
    return 0
