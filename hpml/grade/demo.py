"""`hpml demo`: a small class, made up and graded, so that the whole circle can be seen: submissions → gradebook, feedback, table."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpml import course, theme, wrong
from hpml.build import notebook as made
from hpml.build import write
from hpml.course import CourseError, Lab
from hpml.grade import Graded, Grading, Judge, guarded, show, with_referee
from hpml.verdict import Outcome

Expected = dict[str, tuple[Outcome, float | None]]

CONFIG = '''"""Settings of nbgrader for this course folder: `nbgrader` and formgrader run here work on the same class."""
c = get_config()                # noqa: F821
c.CourseDirectory.course_id = "hpml-demo"
'''


@dataclass
class Student:
    """A made-up student: the file handed in, and what each exercise should come to (None: a person decides)."""

    name: str
    what: str
    content: bytes
    expected: Expected = field(default_factory=dict)


def _notebook(lab: Lab, answers: dict[str, str], without: str = "") -> bytes:
    """The students' notebook with these answers, and without the cell of one exercise."""
    found = made.read(lab)
    node = made.student(made.solution(lab, found))
    for cell in node.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
    node.cells = [c for c in node.cells if not without or c.metadata.get("nbgrader", {}).get("grade_id") != without]
    return made.text(node).encode()


def _answer(of: wrong.Wrong) -> str:
    """A wrong answer without the head of its file, which no student would write."""
    lines = of.source.splitlines()
    return "\n".join(lines[next(i for i, line in enumerate(lines) if not line.startswith("#")):]).strip()


def make_class(lab: Lab) -> list[Student]:
    """Six submissions with what they should earn: solved, half solved, untouched, wrong, damaged, a cell missing."""
    found = made.read(lab)
    manual = {key: cell.solution for key, cell in found.by_role("manual").items()}
    answers = found.answers | manual
    names = list(lab.exercises)
    code = [n for n in names if lab.exercises[n].kind == "code"]
    solved: Expected = {n: (Outcome.NEEDS_MANUAL, None) if n in manual else (Outcome.PASS, lab.exercises[n].points) for n in names}
    open_: Expected = dict.fromkeys(names, (Outcome.NOT_ATTEMPTED, 0.0))
    unread: Expected = dict.fromkeys(names, (Outcome.MALFORMED, 0.0))
    first = [n for n in names if n not in manual and n not in code[(len(code) + 1) // 2:]]

    picked: dict[str, wrong.Wrong] = {}
    for w in wrong.read(lab):
        if w.outcome is not Outcome.PARTIAL:            # slow answers earn something; how much depends on the machine
            picked.setdefault(w.exercise, w)
    gone = code[0]
    return [
        Student("amara", "everything solved", _notebook(lab, answers), dict(solved)),
        Student("bilal", "solved the first half", _notebook(lab, {n: answers[n] for n in first}), open_ | {n: solved[n] for n in first}),
        Student("chiyo", "opened it, wrote nothing", _notebook(lab, {}), open_),
        Student("dagny", f"{len(picked)} wrong answers", _notebook(lab, answers | {n: _answer(w) for n, w in picked.items()}),
                solved | {n: (w.outcome, 0.0) for n, w in picked.items()}),
        Student("emeka", "a notebook cut off half-way", _notebook(lab, answers)[:2000], unread),
        Student("farah", f"deleted the cell of {gone}", _notebook(lab, answers, without=gone), solved | {gone: (Outcome.MALFORMED, 0.0)}),
    ]


def make_course(lab: Lab, folder: Path, students: list[Student]) -> None:
    """A course folder in nbgrader's layout with these submissions."""
    found = made.read(lab)
    solved = made.solution(lab, found)
    write(folder / "nbgrader_config.py", CONFIG.encode())
    write(folder / "source" / lab.lab / f"{lab.lab}.ipynb", made.text(solved).encode())
    write(folder / "release" / lab.lab / f"{lab.lab}.ipynb", made.text(made.student(solved)).encode())
    for name in made.figures(made.in_notebook(found)):
        for place in ("source", "release"):
            write(folder / place / lab.lab / name, (lab.folder / name).read_bytes())
    for student in students:
        write(folder / "submitted" / student.name / lab.lab / f"{lab.lab}.ipynb", student.content)


def differences(student: Student, graded: Graded) -> list[str]:
    """What did not come out as it should have, as sentences."""
    out = []
    for name, (outcome, score) in student.expected.items():
        verdict, mark = graded.verdicts[name], graded.marks[name]
        if verdict.outcome is not outcome or mark.score != score:
            points = "pending" if mark.score is None else theme.plain(mark.score)
            due = "pending" if score is None else theme.plain(score)
            out.append(f"{student.name}, {name}: expected {outcome} ({due}), got {verdict.outcome} ({points}): {verdict.message}")
    return out


def compare(lab: Lab, students: list[Student], graded: list[Graded], console: Console) -> list[str]:
    """Print expected beside actual scores; return the differences."""
    table = Table("student", "what they did", title=Text("Expected and actual"), title_justify="left")
    for word in ("expected", "actual"):
        table.add_column(word, justify="right", no_wrap=True)
    table.add_column("agrees")
    out: list[str] = []
    for student, done in zip(students, graded, strict=True):
        found = differences(student, done)
        due = sum(score or 0.0 for _, score in student.expected.values())
        more = "+" if any(score is None for _, score in student.expected.values()) else ""
        table.add_row(student.name, Text(student.what), theme.plain(due) + more, show.points(done), "no" if found else "yes")
        out += found
    console.print(table)
    return out


def main(argv: list[str], judge: Judge | None = None) -> int:
    """Run `hpml demo`. Returns 0 if every score is the expected one, 1 if not, 2 if it was called in a wrong way."""
    parser = argparse.ArgumentParser(prog="hpml demo", description="Make a small class and grade it, to see the whole circle.",
                                     epilog="Example: hpml demo --to ~/demo-course")
    parser.add_argument("lab", nargs="?", help="default: the first lab that is written")
    parser.add_argument("--to", type=Path, metavar="DIR", help="make the course folder here, and keep it; it must not exist, or be empty")
    parser.add_argument("--keep", action="store_true", help="keep the temporary course folder")
    parser.add_argument("--unjailed", action="store_true", help="grade although there is no jail on this machine")
    options = parser.parse_args(argv)
    try:
        lab = course.load().lab(options.lab) if options.lab else course.load().ready()[0]
        folder = _folder(options.to)
        if judge is None and not options.unjailed:
            guarded()
    except CourseError as e:
        print(f"hpml demo: {e}", file=sys.stderr)
        return 2
    console = Console()
    keep = options.keep or options.to is not None
    try:
        students = make_class(lab)
        make_course(lab, folder, students)
        console.print(Text(f"A class of {len(students)} in {folder}, grading {lab.lab} …"), soft_wrap=True)
        grading = Grading(lab, folder, judge or (lambda *_: []), unjailed=options.unjailed)
        graded = with_referee(grading, [s.name for s in students], judge)
        show.class_table(lab, graded, folder, grading.db, console)
        console.print()
        wrongly = compare(lab, students, graded, console)
        for line in wrongly:
            console.print(Text(line), style="red", soft_wrap=True)
        keep = keep or bool(wrongly)
        if keep:
            page = folder / "feedback" / students[0].name / lab.lab / f"{lab.lab}.html"
            console.print(Text(f"Look at a feedback page: {page}\nThe class at a glance: hpml report {lab.lab} --course {folder}\n"
                               f"In nbgrader's formgrader: cd {folder} && jupyter lab"), soft_wrap=True)
        else:
            console.print("The folder is removed now. To look around in it: hpml demo --keep")
        return 1 if wrongly else 0
    except CourseError as e:
        print(f"hpml demo: {e}", file=sys.stderr)
        return 1
    finally:
        if not keep:
            shutil.rmtree(folder)


def _folder(to: Path | None) -> Path:
    if to is None:
        return Path(tempfile.mkdtemp(prefix="hpml-demo-"))
    folder = to.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} is there already and not empty; name a new folder with --to")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


__all__ = ["main", "make_class", "make_course"]
