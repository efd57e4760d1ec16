"""A submission → its answers: found, read with suspicion, and sanitised. Whatever is wrong with it becomes a sentence.

The submission itself is only read. Answers and pictures are the student's, everything else comes from the release: locked cells,
types, metadata, and what was deleted. nbgrader's own preprocessors have the last word, so that its tools accept the result.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, DeduplicateIds
from nbgrader.utils import is_solution

from hpml.course import CourseError, Lab
from hpml.grade import reading
from hpml.grade.reading import Unreadable
from hpml.referee import cells as text

MAX_ANSWER = 200_000            # bytes of one answer
STUDENT = re.compile(r"\w[\w.@-]*")

_quiet = logging.getLogger("hpml.grade.nbgrader")       # what nbgrader would say is said in our own words
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class Release:
    """The students' notebook as it was handed out: what every submission is held against."""

    def __init__(self, lab: Lab, notebook: NotebookNode, files: dict[str, bytes] | None = None) -> None:
        self.lab, self.notebook, self.files = lab, notebook, files or {}
        marked = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id")]
        self.cells: dict[str, NotebookNode] = {c.metadata.nbgrader.grade_id: c for c in marked}
        self.by_id: dict[str, str] = {c.id: name for name, c in self.cells.items() if "id" in c}
        for name, entry in lab.exercises.items():
            for wanted in {name, grade_id(lab, name)}:
                if wanted not in self.cells:
                    raise CourseError(f"The release of {lab.lab} has no cell {wanted!r}, but course.yml lists {name!r}. Make it again "
                                      "with `hpml build` and copy it into release/, or remove that folder.")
            cell = self.cells[grade_id(lab, name)]
            if cell.metadata.nbgrader.get("points") != entry.points:
                raise CourseError(f"The release of {lab.lab} gives {cell.metadata.nbgrader.get('points')} points to {name!r}, course.yml "
                                  f"{entry.points:g}. Make the release again with `hpml build`, or take course.yml back.")

    def untouched(self, name: str, source: str) -> bool:
        return source.strip() == self.cells[name].source.strip() or not source.strip()


def grade_id(lab: Lab, name: str) -> str:
    """The cell that carries the points of an exercise: its check, or the text itself where a person grades."""
    return name if lab.exercises[name].kind == "manual" else f"check-{name}"


def release(lab: Lab, course: Path) -> Release:
    """`release/LAB/` of the course folder; where there is none, what the course itself makes."""
    from hpml.build import notebook as made

    folder = course / "release" / lab.lab
    path = folder / f"{lab.lab}.ipynb"
    if path.is_file():
        try:
            node = nbformat.read(path, as_version=4)
        except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as e:
            raise CourseError(f"{path} is not a notebook that can be read ({str(e).splitlines()[0]}). Make it again with `hpml build`, "
                              "or remove that folder.") from None
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*")
                 if p.is_file() and p.suffix != ".ipynb" and not any(part.startswith(".") for part in p.relative_to(folder).parts)}
        return Release(lab, node, files)
    found = made.read(lab)
    figures = made.figures(made.in_notebook(found))
    return Release(lab, made.student(made.solution(lab, found)), {name: (lab.folder / name).read_bytes() for name in figures})


def placeholder(handed_out: Release, fault: str) -> NotebookNode:
    """What formgrader shows for a submission that cannot be read: the lab as handed out, with the reason on top."""
    made = nbformat.from_dict(json.loads(json.dumps(handed_out.notebook)))
    made.cells.insert(0, nbformat.v4.new_markdown_cell(f"**This submission could not be read.** {fault}", id="hpml-fault"))
    return made


def code(notebook: NotebookNode) -> str:
    """The notebook's code cells as text: [[id, source], ...]."""
    return json.dumps([[cell.id, cell.source] for cell in notebook.cells if cell.cell_type == "code"])


def show(notebook: NotebookNode, outputs: Mapping[str, list[Any]]) -> None:
    """Put outputs into its code cells; what is not a notebook's output is left out."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for output in outputs.get(cell.id, []):
                made = nbformat.from_dict(output)
                with contextlib.suppress(nbformat.ValidationError):
                    nbformat.validate(made, "output", version=4)
                    cell.outputs.append(made)


@dataclass
class Submission:
    """What a student handed in. `notebook` is the sanitised one, None where nothing could be read.

    answers    exercise → source, for those whose cell is there
    problems   exercise → why it cannot be graded; with `fault` set, that holds for all of them
    notes      what was put right, for the student to read
    """

    student: str
    fault: str | None = None
    notebook: NotebookNode | None = None
    answers: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    timestamp: str | None = None


def students(course: Path, lab: Lab) -> tuple[list[str], list[str]]:
    """(students with a folder for this lab, folders whose name nbgrader would not take for a student)."""
    found = sorted(p.parent.name for p in (course / "submitted").glob(f"*/{lab.lab}") if not p.parent.name.startswith("."))
    return [n for n in found if STUDENT.fullmatch(n)], [n for n in found if not STUDENT.fullmatch(n)]


def collect(course: Path, student: str, handed_out: Release) -> Submission:
    """Read and sanitise one submission. Never raises for what a student did; `fault` and `problems` say it."""
    name = handed_out.lab.lab
    found = Submission(student)
    folder = course / "submitted" / student / name
    try:
        found.timestamp = reading.timestamp(folder)
        _sanitise(reading.cells(reading.content(folder, name), found.notes), handed_out, found)
    except Unreadable as e:
        found.fault = str(e)
        found.notebook = None
        found.answers.clear()
        return found
    assert found.notebook
    resources = {"nbgrader": {"notebook": name, "assignment": name, "student": student}}
    for step in (ClearOutput, DeduplicateIds, CheckCellMetadata):       # what is not an answer is the release's already
        found.notebook, _ = step(log=_quiet).preprocess(found.notebook, resources)
    return found


def _sanitise(cells: list[NotebookNode], handed_out: Release, found: Submission) -> None:
    """Fill in the sanitised notebook, the answers, and what was wrong with them."""
    lab = handed_out.lab
    places = _places(cells, handed_out, found.notes)
    if not places.keys() & lab.exercises.keys():
        raise Unreadable(f"None of the exercise cells of {lab.lab} is in this notebook. Is it the notebook of another lab? Start from a "
                         "fresh copy, put your answers in, and submit that.")
    chosen: dict[int, str] = {}
    for name, where in places.items():
        kept = where[0]
        if name in lab.exercises:
            kept = _answer(name, [cells[i] for i in where], where, handed_out, found)
        elif cells[kept].source.strip() != handed_out.cells[name].source.strip():
            found.notes.append(f"The locked cell `{name}` had been changed; it was graded as it was handed out.")
        chosen[kept] = name

    new: list[NotebookNode] = []
    used = set(handed_out.by_id)
    for i, cell in enumerate(cells):
        if i in chosen:
            original = handed_out.cells[chosen[i]]
            cell = _copy(original, cell if is_solution(original) else None)
        else:
            name = cell.id if cell.id and cell.id not in used else f"extra-{i}"
            used.add(name)
            plain = {"id": name, "cell_type": cell.cell_type, "metadata": {}, "source": cell.source}
            cell = nbformat.from_dict({**plain, "outputs": [], "execution_count": None} if cell.cell_type == "code" else plain)
        new.append(cell)
    _put_back(new, handed_out, found)
    found.notebook = nbformat.v4.new_notebook(cells=new, metadata=nbformat.from_dict(dict(handed_out.notebook.metadata)))


def _places(cells: list[NotebookNode], handed_out: Release, notes: list[str]) -> dict[str, list[int]]:
    """Name of a released cell → where it stands: by its mark, else by its cell id, else by what it defines."""
    places: dict[str, list[int]] = {}
    free: list[int] = []
    for i, cell in enumerate(cells):
        if cell.mark in handed_out.cells:
            places.setdefault(cell.mark, []).append(i)
        else:
            free.append(i)
    for name in [n for n in handed_out.cells if n not in places]:
        entry = handed_out.lab.exercises.get(name)
        matches = [i for i in free if handed_out.by_id.get(cells[i].id) == name]
        if not matches and entry and entry.kind != "manual":
            says = text.defines if entry.kind == "code" else text.predicts
            matches = [i for i in free if cells[i].cell_type == "code" and says(cells[i].source, name)]
        if matches:
            places[name] = matches
            free = [i for i in free if i not in matches]
            if entry:
                notes.append(f"The cell of `{name}` had lost its mark (its nbgrader metadata); it was found all the same.")
    return places


def _answer(name: str, copies: list[NotebookNode], where: list[int], handed_out: Release, found: Submission) -> int:
    """Which of the cells with this name counts: the only one that is answered, else the last one."""
    answered = [i for i, c in zip(where, copies, strict=True) if not handed_out.untouched(name, c.source)]
    different = {c.source.strip() for c in copies if not handed_out.untouched(name, c.source)}
    kept = (answered or where)[-1]
    if len(different) > 1:
        found.problems[name] = (f"The cell of `{name}` stands {len(copies)} times in the notebook, with different answers. Keep the one "
                                "that counts, delete the others, and submit again.")
        return kept
    if len(copies) > 1:
        found.notes.append(f"The cell of `{name}` stands {len(copies)} times in the notebook; "
                           f"{'the one with an answer' if answered else 'the last one'} was graded.")
    source = copies[where.index(kept)].source
    if len(json.dumps(source)) > MAX_ANSWER:
        found.problems[name] = f"The answer to `{name}` is longer than {MAX_ANSWER // 1000} kB; keep only the answer in its cell."
    else:
        found.answers[name] = source
    return kept


def _copy(original: NotebookNode, answer: NotebookNode | None = None) -> NotebookNode:
    """The released cell; with an answer, its text and the pictures pasted into it."""
    cell = nbformat.from_dict(json.loads(json.dumps(original)))
    if answer is not None:
        cell.source = answer.source
        if cell.cell_type == "markdown" and answer.attachments:
            cell.attachments = answer.attachments
    return cell


def _put_back(cells: list[NotebookNode], handed_out: Release, found: Submission) -> None:
    """Insert what is missing behind the cell that it followed."""
    at = -1
    for name, original in handed_out.cells.items():
        here = next((i for i, c in enumerate(cells) if c.metadata.get("nbgrader", {}).get("grade_id") == name), None)
        if here is None:
            at += 1
            cells.insert(at, _copy(original))
            if name in handed_out.lab.exercises:
                found.problems[name] = (f"The cell of `{name}` is missing from the notebook. Copy it from a fresh copy of the lab, answer "
                                        "it there, and submit again.")
            else:
                found.notes.append(f"The locked cell `{name}` was missing; it was put back.")
        else:
            at = here
