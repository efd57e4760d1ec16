"""`hpml export`: what the gradebook holds, for other programs: a table, Canvas's and Moodle's gradebooks, JSON with the evidence.

Canvas and Moodle get one column a lab, and an empty cell where something is pending: a part of the points would look like the whole.
Their layouts follow what they document for the import of grades: Canvas wants the columns Student, ID, SIS User ID, SIS Login ID and
Section and a row of possible points; Moodle wants a column that names the user (it is mapped on the import page) and grade columns.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpml import course
from hpml.build import write
from hpml.course import CourseError, Lab
from hpml.grade import record
from hpml.grade.journal import Journal
from hpml.grade.record import Gradebook, Marks, total


@dataclass(frozen=True)
class Person:
    """A student as the gradebook knows one; everything but `id` may be empty."""

    id: str
    first: str = ""
    last: str = ""
    email: str = ""
    lms: str = ""                       # the learning platform's own number

    @property
    def name(self) -> str:
        """"Lovelace, Ada", or what there is of it."""
        return ", ".join(part for part in (self.last, self.first) if part) or self.id


@dataclass(frozen=True)
class Grades:
    """What is exported. `classes`: lab → student → marks."""

    folder: Path
    labs: tuple[Lab, ...]
    people: dict[str, Person]
    classes: dict[str, dict[str, Marks]]

    def students(self) -> list[str]:
        return sorted({student for graded in self.classes.values() for student in graded})

    def points(self, lab: Lab, student: str) -> float | None:
        """None where nothing was handed in, or where not all of it is graded."""
        marks = self.classes[lab.lab].get(student)
        return None if marks is None or any(m.pending for m in marks.values()) else total(marks)

    def pending(self) -> int:
        return sum(any(m.pending for m in marks.values()) for graded in self.classes.values() for marks in graded.values())


@contextmanager
def opened(folder: Path, db: str | None) -> Iterator[Gradebook]:
    """The gradebook of a course folder, to be read. Raises CourseError where there is none yet."""
    url = record.url(folder, db)
    file = url.removeprefix("sqlite:///").split("?")[0]
    if url.startswith("sqlite:///") and not Path(file).is_file():
        raise CourseError(f"there is no gradebook {file}. Name the course folder with --course, and grade first: hpml grade LAB")
    with Gradebook(url) as book:
        yield book


def read(folder: Path, labs: Iterable[Lab], db: str | None = None) -> Grades:
    """Everything that is graded of these labs. Raises CourseError."""
    with opened(folder, db) as book:
        known = book.names()
        classes = {lab.lab: book.graded(lab) for lab in labs if lab.lab in known}
        people = {s.id: Person(s.id, s.first_name or "", s.last_name or "", s.email or "", s.lms_user_id or "") for s in book.book.students}
    classes = {name: graded for name, graded in classes.items() if graded}
    if not classes:
        raise CourseError(f"nothing of {', '.join(lab.lab for lab in labs)} is graded in {folder}. Grade first: hpml grade LAB")
    return Grades(folder, tuple(lab for lab in labs if lab.lab in classes), people, classes)


def _table(rows: Iterable[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)          # RFC 4180
    return out.getvalue()


def _number(points: float | None) -> str:
    return "" if points is None else f"{points:g}"


def as_csv(grades: Grades) -> str:
    """A line per student and lab, a column per exercise: grades.csv of these labs."""
    outcomes = {}
    for lab in grades.labs:
        kept = Journal(grades.folder, lab)
        outcomes[lab.lab] = {student: {key: entry[1].outcome for key in lab.exercises if (entry := kept.load(student, key))}
                             for student in grades.classes[lab.lab]}
    return record.table({lab.lab: (lab, grades.classes[lab.lab], outcomes[lab.lab]) for lab in grades.labs})


def as_canvas(grades: Grades) -> str:
    """Canvas: a lab's column makes an assignment of that name, or is matched to one on the import page."""
    fixed = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    rows = [[*fixed, *(f"{lab.lab} {lab.title}" for lab in grades.labs)],
            ["    Points Possible", "", "", "", "", *(f"{lab.points:g}" for lab in grades.labs)]]
    for student in grades.students():
        person = grades.people[student]
        rows.append([person.name, person.lms, "", student, "", *(_number(grades.points(lab, student)) for lab in grades.labs)])
    return _table(rows)


def as_moodle(grades: Grades) -> str:
    """Moodle: the layout of its own grade export. Map "Email address" or "ID number" to the user on the import page."""
    rows = [["First name", "Last name", "ID number", "Email address",
             *(f"Assignment: {lab.lab} {lab.title} (Real)" for lab in grades.labs)]]
    for student in grades.students():
        person = grades.people[student]
        rows.append([person.first, person.last, student, person.email, *(_number(grades.points(lab, student)) for lab in grades.labs)])
    return _table(rows)


def as_json(grades: Grades) -> str:
    """Everything, with the verdicts and the evidence behind each score. It holds the seeds: not for students."""
    from hpml.referee import evidence
    out: list[dict[str, Any]] = []
    for lab in grades.labs:
        kept = Journal(grades.folder, lab)
        for student, marks in sorted(grades.classes[lab.lab].items()):
            exercises = {}
            for key, mark in marks.items():
                verdict = entry[1] if (entry := kept.load(student, key)) else None
                exercises[key] = {"score": mark.score, "max": mark.max_score, "pending": mark.pending, "by_hand": mark.by_hand,
                                  "comment": mark.comment, "signature": evidence.verified(verdict) if verdict else None,
                                  "verdict": json.loads(verdict.model_dump_json(exclude={"picture"})) if verdict else None}
            late = marks.late
            out.append({"student": student, "lab": lab.lab, "total": total(marks), "max": lab.points,
                        "pending": [key for key, mark in marks.items() if mark.pending],
                        "late": {"due": late.due.isoformat() + "Z" if late.due else None, "seconds": late.seconds,
                                 "extension_seconds": late.extension.total_seconds() if late.extension else 0.0, "penalty": late.penalty},
                        "exercises": exercises})
    return json.dumps(out, indent=1) + "\n"


FORMATS: dict[str, Callable[[Grades], str]] = {"csv": as_csv, "canvas": as_canvas, "moodle": as_moodle, "json": as_json}


def main(argv: list[str]) -> int:
    """Run `hpml export`. Returns 0, or 2 if it was called in a wrong way."""
    parser = argparse.ArgumentParser(prog="hpml export", description="Grades for other programs, from the gradebook.",
                                     epilog="Example: hpml export all --course ~/course --format canvas --to canvas.csv")
    parser.add_argument("lab", help="a lab, or `all`")
    parser.add_argument("--course", type=Path, default=Path(), metavar="DIR", help="the course folder; default: here")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="default: csv")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write it here; default: print it")
    parser.add_argument("--db", metavar="URL", help="the gradebook; default: the course folder's")
    options = parser.parse_args(argv)
    try:
        labs = course.load().ready() if options.lab == "all" else (course.load().lab(options.lab),)
        grades = read(options.course.expanduser().resolve(), labs, options.db)
        text = FORMATS[options.format](grades)
        if options.to:
            write(options.to, text.encode())
        else:
            sys.stdout.write(text)
    except (CourseError, OSError) as e:
        print(f"hpml export: {e}", file=sys.stderr)
        return 2
    if options.format in ("canvas", "moodle") and (empty := grades.pending()):
        print(f"hpml export: {empty} cell{'s are' if empty > 1 else ' is'} empty because something in it is pending: grade the texts in "
              "formgrader, or run `hpml grade` again.", file=sys.stderr)
    return 0
