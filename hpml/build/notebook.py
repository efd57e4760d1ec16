"""A lab's source → its solved notebook and, through nbgrader's own preprocessors, the student's notebook.

Cell ids come from names and texts, never from positions, so that a new cell leaves every other one as it was:
`exercise-im2col`, `check-im2col`, and for prose and ordinary code the first words.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells
from nbgrader.utils import compute_checksum

from hpml import course, source
from hpml.course import CourseError, Lab
from hpml.source import Cell, Source

# Without versions of Python or of the kernel: they would change the notebooks of whoever builds with another one.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"},
}
TRUSTED = ("lab.py", "exercises.py", "measure.py")      # in a lab's folder, and not for students
SLOT = re.compile(r"\{\{(\w+)\}\}")
FIGURE = re.compile(r"!\[[^\]]*\]\(\s*([^)\s]+)|<img\b[^>]*\bsrc=[\"']([^\"']+)")


class ClearAnswers(ClearSolutions):
    """nbgrader's ClearSolutions, with the course's stub for predictions: code answers without BEGIN SOLUTION."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text_stub = Cell("markdown", "manual", "", "", 0).student

    def preprocess_cell(self, cell: NotebookNode, resources: Any, cell_index: int) -> tuple[NotebookNode, Any]:
        marked = self.begin_solution_delimeter in cell.source
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        meta = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and meta.get("solution") and not marked:
            cell.source = Cell("code", "predict", meta["grade_id"], "", 0).student
        return cell, resources


def read(lab: Lab) -> Source:
    """The lab's source with the values of `measured.json` filled in, and checked as far as that goes without running it.

    Raises CourseError, naming file and line, for a value or figure that is not there, code that does not parse, a check cell
    that does not check, or `uses` of something unknown.
    """
    found = source.read(lab)
    lines = found.path.read_text(encoding="utf-8").splitlines()
    values = _measured(lab)

    def where(cell: Cell, text: str) -> str:
        line = next((n for n, row in enumerate(lines[cell.line - 1:], cell.line) if text in row), cell.line)
        return f"{found.path.relative_to(course.ROOT)}:{line}"

    def filled(cell: Cell) -> str:
        def value(slot: re.Match[str]) -> str:
            if slot[1] not in values:
                raise CourseError(f"{where(cell, slot[0])}: {slot[0]} has no value in measured.json"
                                  + (course.nearest(slot[1], sorted(values)) if values else ", which is not there"))
            return values[slot[1]]
        return SLOT.sub(value, cell.source)

    names = {cell.key for cell in found.cells if cell.role in ("exercise", "given")}
    cells = []
    for cell in found.cells:
        if cell.kind == "markdown":
            cell = Cell(**{**vars(cell), "source": filled(cell)})
            for name in figures([cell]):
                if not (lab.folder / name).is_file() or not name.startswith("figures/"):
                    raise CourseError(f"{where(cell, name)}: there is no figure {name} in {lab.folder.relative_to(course.ROOT)}; "
                                      "figures lie in the lab's folder figures/")
        elif cell.kind == "code":
            _parses(cell, found)
        if cell.role == "check" and f'check("{cell.key}")' not in cell.source:
            raise CourseError(f'{where(cell, "# %%")}: the check cell of {cell.key!r} does not call check("{cell.key}"); '
                              "nbgrader gives full marks to a cell that only displays something")
        for name in cell.uses:
            if name not in names:
                raise CourseError(f"{where(cell, name)}: uses={name!r} is no exercise and no given cell of this lab"
                                  + course.nearest(name, sorted(names)))
        cells.append(cell)
    return Source(found.path, tuple(cells))


def _measured(lab: Lab) -> dict[str, str]:
    path = lab.folder / "measured.json"
    if not path.is_file():
        return {}
    name = path.relative_to(course.ROOT)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as e:
        raise CourseError(f"{name} is not JSON: {e}") from None
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise CourseError(f'{name} is a flat object of strings, such as {{"loops": "412 ms"}}')
    return values


def _parses(cell: Cell, found: Source) -> None:
    """Both versions of a code cell must be Python, as IPython understands it."""
    for text in (cell.solution, cell.student):
        try:
            ast.parse(TransformerManager().transform_cell(text))
        except SyntaxError as e:
            raise CourseError(f"{found.path.relative_to(course.ROOT)}:{cell.line}: in this cell, line {e.lineno}: {e.msg}: "
                              f"{(e.text or '').strip()}") from None


def figures(cells: Iterable[Cell]) -> list[str]:
    """Names of the files that markdown cells show, in order, each once. Pictures embedded as data do not count."""
    names = (m[1] or m[2] for cell in cells if cell.kind == "markdown" for m in FIGURE.finditer(cell.source))
    return list(dict.fromkeys(name for name in names if not name.startswith("data:")))


def beside(lab: Lab, name: str) -> bytes:
    """A file of the lab's folder that lies beside the notebook: a figure, or one of `files` in course.yml. Never the trusted side."""
    if not name.startswith("figures/") and ("/" in name or name in TRUSTED):
        raise CourseError(f"course.yml: {lab.lab} lists the file {name!r}; `files` are scripts of the lab that students may read")
    try:
        return (lab.folder / name).read_bytes()
    except OSError as e:
        raise CourseError(f"course.yml: {lab.lab} lists the file {name!r}, which cannot be read: {e.strerror}") from None


def in_notebook(found: Source) -> list[Cell]:
    """The cells that notebooks have: all but those of the deck alone, among them speaker notes."""
    return [cell for cell in found.cells if cell.only != "slides" and cell.slide != "notes"]


def _ids(cells: list[Cell]) -> Iterator[str]:
    """A valid, unique id for each cell (at most 64 of A-Z, a-z, 0-9, - and _), independent of its position."""
    slugs = [f"{cell.role}-{cell.key}"[:64] if cell.role else _slug(cell) for cell in cells]
    counts, seen = Counter(slugs), Counter[str]()
    for cell, slug in zip(cells, slugs, strict=True):
        if counts[slug] > 1:
            slug = f"{slug[:50]}-{hashlib.sha256(cell.source.encode()).hexdigest()[:8]}"
        seen[slug] += 1
        yield slug if seen[slug] == 1 else f"{slug}-{seen[slug]}"


def _slug(cell: Cell) -> str:
    heading = re.search(r"^#+ (.+)", cell.source, re.MULTILINE) if cell.kind == "markdown" else None
    words = re.findall(r"[a-z0-9]+", (heading[1] if heading else cell.source[:200]).lower())
    slug = "-".join([{"markdown": "text"}.get(cell.kind, cell.kind) if not heading else "section", *words])[:48].rstrip("-")
    return slug


def _nbgrader(cell: Cell, lab: Lab) -> dict[str, Any] | None:
    """nbgrader's metadata of a cell, schema 3. A check's points are those of its exercise in `course.yml`."""
    flags = {"exercise": (False, True, False), "predict": (False, True, False), "manual": (True, True, False),
             "check": (True, False, True), "given": (False, False, True)}
    if cell.role not in flags:
        return None
    grade, solution, locked = flags[cell.role]
    name = f"{cell.role}-{cell.key}" if locked else cell.key
    meta = {"grade": grade, "grade_id": name, "locked": locked, "schema_version": 3, "solution": solution, "task": False}
    return {**meta, "points": lab.exercises[cell.key].points} if grade else meta


def solution(lab: Lab, found: Source) -> NotebookNode:
    """The solved notebook, markers included: what nbgrader calls the source of the assignment."""
    cells = []
    wanted = in_notebook(found)
    for cell, name in zip(wanted, _ids(wanted), strict=True):
        metadata: dict[str, Any] = {}
        if (graded := _nbgrader(cell, lab)) is not None:
            metadata["nbgrader"] = graded
        if cell.role == "check" or (cell.kind == "code" and cell.uses):
            metadata["tags"] = ["raises-exception"]
        new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[cell.kind]
        cells.append(new(cell.source, id=name, metadata=metadata))
    return nbformat.v4.new_notebook(cells=cells, metadata={**METADATA, "title": lab.title})


def student(solved: NotebookNode) -> NotebookNode:
    """What `nbgrader generate_assignment` makes of the solved notebook: stubs, locks, checksums."""
    made = nbformat.from_dict(json.loads(json.dumps(solved)))
    for step in (LockCells, ClearAnswers, ClearOutput, CheckCellMetadata, ComputeChecksums):
        made, _ = step().preprocess(made, {"unique_key": "student"})
    return made


def text(notebook: NotebookNode) -> str:
    """The notebook as a file: sorted keys, one newline at the end. The same notebook is the same text."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def answered(text: str) -> list[str]:
    """Names of the cells of a student's notebook in which somebody has written. Raises ValueError if it is no notebook."""
    cells = json.loads(text)["cells"] if text.strip() else []
    found = []
    for cell in cells:
        meta: Mapping[str, Any] = cell.get("metadata", {}).get("nbgrader", {})
        if meta.get("solution") and "checksum" in meta:
            node = nbformat.from_dict({**cell, "source": "".join(cell["source"])})
            if compute_checksum(node) != meta["checksum"]:
                found.append(str(meta["grade_id"]))
    return found
