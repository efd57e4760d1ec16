"""A class that works on the tiny lab, and a judge that reads its verdict off the answer: for tests of what happens around grading."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from hpml import course, grade
from hpml.build import notebook as made
from hpml.verdict import Measured, Outcome, Verdict

NAME = "01-tiny"


@functools.cache
def empty_book() -> bytes:
    """A gradebook without anything, made once: nbgrader starts a program for it."""
    from nbgrader.api import Gradebook

    from hpml.grade import record
    with tempfile.TemporaryDirectory() as folder, record._own_tools():
        Gradebook(f"sqlite:///{folder}/gradebook.db").close()
        return (Path(folder) / "gradebook.db").read_bytes()


class FakeJudge:
    """`# wrong`, `# noisy` and `# tampered` in an answer are its verdict; anything but the stub is right. Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, lab: str, cells: dict[str, str], exercises: list[str]) -> list[Verdict]:
        self.asked.append(tuple(exercises))
        return [self.verdict(lab, name, cells[name]) for name in exercises]

    def verdict(self, lab: str, name: str, source: str) -> Verdict:
        most = course.load().lab(lab).exercises[name].points
        outcome = next((o for o in (Outcome.WRONG, Outcome.TAMPERED) if f"# {o}" in source),
                       Outcome.TOO_NOISY if "# noisy" in source else
                       Outcome.NOT_ATTEMPTED if "NotImplementedError" in source or "..." in source else Outcome.PASS)
        ratio = 3.0 if "# slow" in source else 30.0
        measured = [Measured(target="speedup", versus="python_sum", start=2, full=20, ratio=ratio, low=0.9 * ratio, high=1.1 * ratio,
                             credit=1, samples=[(1e-5, 1e-5 * ratio)] * 6)] if name == "total" and outcome is Outcome.PASS else []
        evidence: dict[str, Any] = {"seed": "48151623", "machine": "a machine, 2 cores", "python": "3.11", "versions": {"hpml": "0"}}
        if measured:
            evidence["control"] = {"ratio": 1.01, "low": 0.9, "high": 1.1, "others": 0.0}
        return Verdict(lab=lab, exercise=name, outcome=outcome, score=most if outcome is Outcome.PASS else 0.0, max_score=most,
                       message=f"`{name}` is {outcome}.", hint="Think <b>again</b>." if outcome is Outcome.WRONG else None,
                       measured=measured, jail="bubblewrap", evidence=evidence)


class Class:
    """A course folder and its submissions."""

    def __init__(self, folder: Path, lab: course.Lab) -> None:
        folder.mkdir()
        (folder / "gradebook.db").write_bytes(empty_book())
        self.folder, self.lab, self.judge = folder, lab, FakeJudge()
        found = made.read(lab)
        self.answers = found.answers | {key: cell.solution for key, cell in found.by_role("manual").items()}
        self.blank = made.student(made.solution(lab, found))

    def solved(self, **answers: str) -> bytes:
        """The notebook with the right answers, except for these."""
        node = nbformat.from_dict(json.loads(json.dumps(self.blank)))
        for cell in node.cells:
            cell.source = (self.answers | answers).get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
        return json.dumps(node).encode()

    def submit(self, student: str, content: bytes, when: str | None = None) -> None:
        place = self.folder / "submitted" / student / NAME
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{NAME}.ipynb").write_bytes(content)
        if when:
            (place / "timestamp.txt").write_text(when)
            (place / "submission_secret.txt").write_text(f"secret of {student} at {when}")

    def grade(self, *options: str) -> int:
        return grade.main([NAME, "--course", str(self.folder), *options], self.judge)

    def once(self, kept: Path, make: Callable[[], None]) -> None:
        """Make and grade the class, or take the one that an earlier test has made and kept."""
        if kept.exists():
            shutil.copytree(kept, self.folder, dirs_exist_ok=True)
            return
        make()
        assert self.grade() == 0
        shutil.copytree(self.folder, kept)

    def page(self, student: str) -> str:
        return (self.folder / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")
