"""A course folder with a class in it, for tests of grading: a judge that reads its verdict off the answer, and nbgrader's gradebook."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from hpml import course, grade
from hpml.build import notebook as made
from hpml.grade import journal, record
from hpml.verdict import Measured, Outcome, Verdict

NAME = "01-tiny"
COLUMNS = ["guess", "double", "top", "total (exercise)", "frugal", "why"]
CODE = ["guess", "double", "top", "total", "frugal"]


class FakeJudge:
    """Reads the verdict off the answer: `# wrong`, `# noisy`, `# broken` and `# half` in its source. Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.error: BaseException | None = None
        self.overrides: dict[str, tuple[Outcome, float]] = {}

    def __call__(self, lab: str, cells: dict[str, str], exercises: list[str]) -> list[Verdict]:
        self.asked.append(tuple(exercises))
        if self.error:
            raise self.error
        return [self.verdict(lab, n, cells[n]) for n in exercises]

    def verdict(self, lab: str, name: str, source: str) -> Verdict:
        most = course.load().lab(lab).exercises[name].points
        outcome, score = self.overrides.get(name) or (
            (Outcome.WRONG, 0.0) if "# wrong" in source else (Outcome.TOO_NOISY, 1.0) if "# noisy" in source
            else (Outcome.INFRASTRUCTURE, 0.0) if "# broken" in source else (Outcome.PARTIAL, most / 2) if "# half" in source
            else (Outcome.NOT_ATTEMPTED, 0.0) if "NotImplementedError" in source or "..." in source else (Outcome.PASS, most))
        measured = [Measured(target="speedup", versus="python_sum", start=2, full=20, ratio=30, low=28, high=33, credit=1,
                             samples=[(1e-5, 3e-4)] * 6)] if name == "total" and outcome is Outcome.PASS else []
        return Verdict(lab=lab, exercise=name, outcome=outcome, score=score, max_score=most, message=f"`{name}`: {source[:80]}",
                       hint="Think <b>again</b>." if outcome is Outcome.WRONG else None, measured=measured, jail="bubblewrap",
                       output="<script>alert(1)</script>", evidence={"seed": "48151623", "source_sha256": "5ca1ab1e"})


@pytest.fixture(scope="session")
def empty_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradebook without anything, made once: nbgrader needs a second for it."""
    from nbgrader.api import Gradebook
    path = tmp_path_factory.mktemp("book") / "gradebook.db"
    with record._own_tools():
        Gradebook(f"sqlite:///{path}").close()
    return path


class Class:
    """A course folder with submissions, and ways to look at what became of them."""

    def __init__(self, folder: Path, lab: course.Lab) -> None:
        self.folder, self.lab, self.judge = folder, lab, FakeJudge()
        found = made.read(lab)
        self.answers = found.answers | {key: cell.solution for key, cell in found.by_role("manual").items()}
        self.blank = made.student(made.solution(lab, found))

    def notebook(self, **answers: str) -> nbformat.NotebookNode:
        node = nbformat.from_dict(json.loads(json.dumps(self.blank)))
        for cell in node.cells:
            cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
        return node

    def solved(self, **answers: str) -> nbformat.NotebookNode:
        return self.notebook(**(self.answers | answers))

    def submit(self, student: str, node: Any, name: str = f"{NAME}.ipynb") -> Path:
        path = self.folder / "submitted" / student / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node if isinstance(node, bytes) else json.dumps(node).encode())
        return path

    def grade(self, *options: str) -> int:
        return grade.main([NAME, "--course", str(self.folder), *options], self.judge)

    def verdicts(self, student: str) -> dict[str, Verdict]:
        kept = journal.Journal(self.folder, self.lab)
        return {n: e[1] for n in self.lab.exercises if (e := kept.load(student, n))}

    def book(self) -> Any:
        from nbgrader.api import Gradebook
        return Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}")

    def grades(self, student: str) -> dict[str, tuple[float | None, bool]]:
        """Grade cell → (automatic score, needs a person)."""
        with self.book() as book:
            found = book.find_submission_notebook(NAME, NAME, student)
            return {g.name.removeprefix("check-"): (g.auto_score, g.needs_manual_grade) for g in found.grades}

    def table(self) -> dict[str, dict[str, str]]:
        with open(self.folder / "grades.csv", encoding="utf-8", newline="") as file:
            return {row["student"]: row for row in csv.DictReader(file)}

    def page(self, student: str) -> str:
        return (self.folder / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")

    def autograded(self, student: str) -> nbformat.NotebookNode:
        return nbformat.read(self.folder / "autograded" / student / NAME / f"{NAME}.ipynb", as_version=4)


@pytest.fixture
def room(tiny: course.Lab, tmp_path: Path, empty_book: Path) -> Class:
    folder = tmp_path / "course"
    folder.mkdir()
    shutil.copy(empty_book, folder / "gradebook.db")
    return Class(folder, tiny)


def deleted(room: Class, name: str) -> nbformat.NotebookNode:
    node = room.solved()
    node.cells = [c for c in node.cells if c.metadata.get("nbgrader", {}).get("grade_id") != name]
    return node
