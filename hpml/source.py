"""A lab's one source: `labs/NN-name/lab.py`, percent-format text, read into cells that know what they are for."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpml.course import CourseError, Lab, nearest

ROLES = ("exercise", "given", "predict", "check", "manual")
KEYS = (*ROLES, "slide", "only", "uses")
SLIDES = ("slide", "subslide", "fragment", "notes", "skip")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"      # nbgrader's own, so that both agree on "untouched"


@dataclass(frozen=True)
class Cell:
    """One cell of a lab.

    role   exercise, given, predict, check, manual, or "" for an ordinary cell; `key` is its name
    source the whole text, solution markers included
    slide  reveal.js role, or None;  only: "slides" for cells that exist only in the deck
    uses   exercises that an ordinary code cell needs: while they are open it says so, and Run All goes on
    """

    kind: str
    role: str
    key: str
    source: str
    line: int
    slide: str | None = None
    only: str | None = None
    uses: tuple[str, ...] = ()

    @property
    def student(self) -> str:
        """The source with every solution replaced by a stub (code) or emptied (predict, manual)."""
        if self.role == "manual":
            return "*Write your answer here.*"
        if self.role == "predict":
            return f'predict("{self.key}", ...)'
        out: list[str] = []
        inside = False
        for line in self.source.splitlines():
            if line.strip() == BEGIN:
                inside = True
                indent = line[: len(line) - len(line.lstrip())]
                out += [indent + part for part in STUB.splitlines()]
            elif line.strip() == END:
                inside = False
            elif not inside:
                out.append(line)
        return "\n".join(out)

    @property
    def solution(self) -> str:
        """The source without its markers."""
        return "\n".join(line for line in self.source.splitlines() if line.strip() not in (BEGIN, END))


@dataclass(frozen=True)
class Source:
    """All cells of a lab, in order."""

    path: Path
    cells: tuple[Cell, ...]

    def by_role(self, *roles: str) -> dict[str, Cell]:
        return {cell.key: cell for cell in self.cells if cell.role in roles}

    @property
    def given(self) -> dict[str, str]:
        """Locked helper code, by name."""
        return {key: cell.source for key, cell in self.by_role("given").items()}

    @property
    def answers(self) -> dict[str, str]:
        """Reference answers of exercises and predictions, by name."""
        return {key: cell.solution for key, cell in self.by_role("exercise", "predict").items()}

    @property
    def stubs(self) -> dict[str, str]:
        """What the student starts from, by name."""
        return {key: cell.student for key, cell in self.by_role("exercise", "predict").items()}


def _cell(raw: Any, line: int, path: Path) -> Cell:
    meta = {k: v for k, v in raw.metadata.items() if k not in ("cell_marker", "lines_to_next_cell", "region_name", "title")}
    for key in meta:
        if key not in KEYS:
            raise CourseError(f"{path.name}:{line}: unknown cell key {key!r}{nearest(key, list(KEYS))}")
    roles = [(role, meta[role]) for role in ROLES if role in meta]
    if len(roles) > 1:
        raise CourseError(f"{path.name}:{line}: a cell has one role, this one has {' and '.join(r for r, _ in roles)}")
    role, key = roles[0] if roles else ("", "")
    if meta.get("slide") not in (None, *SLIDES):
        raise CourseError(f"{path.name}:{line}: slide={meta['slide']!r}{nearest(str(meta['slide']), list(SLIDES))}")
    if meta.get("only") not in (None, "slides"):
        raise CourseError(f"{path.name}:{line}: only={meta['only']!r}; it can be \"slides\"")
    if role == "exercise":
        marks = [text.strip() for text in raw.source.splitlines() if text.strip() in (BEGIN, END)]
        if not marks or marks != [BEGIN, END] * (len(marks) // 2):
            raise CourseError(f"{path.name}:{line}: exercise {key!r} needs {BEGIN} and {END}, in pairs")
    if role == "manual" and raw.cell_type != "markdown":
        raise CourseError(f"{path.name}:{line}: a manual answer is a [markdown] cell")
    uses = tuple(str(meta.get("uses", "")).replace(",", " ").split())
    return Cell(raw.cell_type, role, key, raw.source, line, meta.get("slide"), meta.get("only"), uses)


def read(lab: Lab) -> Source:
    """Read and check `lab.py`. Raises CourseError naming file and line."""
    path = lab.folder / "lab.py"
    if not path.is_file():
        raise CourseError(f"{path} is not here; every lab that is `ready` in course.yml has one")
    return parse(path.read_text(encoding="utf-8"), lab, path)


def parse(text: str, lab: Lab, path: Path) -> Source:
    """Cells of a lab's text, checked against the manifest's exercises."""
    import jupytext

    marks = [n for n, row in enumerate(text.splitlines(), 1) if re.match(r"# %%", row)]
    raw = jupytext.reads(text, fmt="py:percent").cells
    lines = [0] * (len(raw) - len(marks)) + marks          # text before the first mark is a cell of its own
    cells = tuple(_cell(c, n, path) for c, n in zip(raw, lines, strict=True) if c.source.strip() and n)

    for role, kinds in (("exercise", ("code",)), ("predict", ("predict",)), ("manual", ("manual",)), ("check", ("code", "predict"))):
        wanted = {name for name, e in lab.exercises.items() if e.kind in kinds}
        found = Counter(cell.key for cell in cells if cell.role == role)
        for name, times in found.items():
            line = next(c.line for c in cells if c.role == role and c.key == name)
            if name not in wanted:
                raise CourseError(f"{path.name}:{line}: course.yml has no {role} {name!r}{nearest(name, sorted(wanted))}")
            if times > 1:
                raise CourseError(f"{path.name}: {role}={name!r} stands {times} times; once is enough")
        for name in sorted(wanted - found.keys()):
            raise CourseError(f"{path.name}: course.yml lists {name!r}, but no cell has {role}=\"{name}\"")
    return Source(path, cells)
