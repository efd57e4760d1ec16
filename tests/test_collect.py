"""What students hand in, of any quality: read, sanitised, and graded as far as it can be. Nobody else is hurt."""
# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from grading import NAME, Class, deleted, empty_book, room  # noqa: F401

from hpml.grade import collect
from hpml.verdict import Outcome


def doubled(room: Class, second: str) -> nbformat.NotebookNode:
    node = room.solved()
    at = next(i for i, c in enumerate(node.cells) if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
    node.cells.insert(at + 1, nbformat.from_dict({**node.cells[at], "id": "copy", "source": second}))
    return node


def as_link(room: Class, target: Path) -> None:
    path = room.submit("bad", b"")
    path.unlink()
    path.symlink_to(target)


BAD: dict[str, tuple[Callable[[Class], Any], str]] = {
    "cut off": (lambda r: json.dumps(r.solved()).encode()[:900], "it stops being JSON"),
    "empty": (lambda r: b"", "an empty file"),
    "white space": (lambda r: b" \n\t", "an empty file"),
    "binary": (lambda r: b"\x89PNG\r\n\x1a\n\0\0\xff" * 99, "not text"),
    "a list": (lambda r: b"[1, 2]", "it has no list of cells"),
    "nested too deep": (lambda r: b"[" * 100_000, "it stops being JSON"),
    "another notebook": (lambda r: nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), "another lab"),
    "cells of no kind": (lambda r: {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1, None, {"source": 3}]}, "another lab"),
    "damaged old format": (lambda r: {"nbformat": 3, "worksheets": [{"cells": 7}]}, "in an old format, and damaged"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_notebook_that_cannot_be_read_is_malformed_and_hurts_nobody_else(room: Class, what: str) -> None:
    make, says = BAD[what]
    path = room.submit("bad", make(room))
    before = path.read_bytes()
    room.submit("good", room.solved())
    assert room.grade() == 0
    assert {v.outcome for v in room.verdicts("bad").values()} == {Outcome.MALFORMED}
    assert all(says in v.message for v in room.verdicts("bad").values())
    assert path.read_bytes() == before
    assert set(room.grades("bad").values()) == {(0.0, False)}
    assert says in room.page("bad") and "could not be graded" in room.page("bad")
    assert "could not be read" in room.autograded("bad").cells[0].source
    assert room.table()["good"]["total"] == "10"


@pytest.mark.parametrize(("name", "says"), [("Untitled.ipynb", "Rename your notebook to `01-tiny.ipynb`"),
                                            ("notes.txt", "holds no notebook")])
def test_a_wrong_file_name_is_said(room: Class, name: str, says: str) -> None:
    room.submit("bad", room.solved(), name)
    assert room.grade() == 0
    assert all(v.outcome is Outcome.MALFORMED and says in v.message for v in room.verdicts("bad").values())


def test_a_huge_file_is_not_read(room: Class) -> None:
    path = room.submit("bad", b"")
    with open(path, "wb") as file:
        file.truncate(3 << 30)
    assert room.grade() == 0
    assert "larger than 20 MB" in room.verdicts("bad")["double"].message


def test_links_and_pipes_are_not_followed(room: Class) -> None:
    other = room.submit("good", room.solved())
    as_link(room, other)
    looped = room.submit("loop", b"")
    looped.unlink()
    looped.symlink_to(looped)
    pipe = room.submit("pipe", b"")
    pipe.unlink()
    os.mkfifo(pipe)
    shutil.copytree(other.parent.parent, room.folder / "elsewhere")
    (room.folder / "submitted" / "whole").mkdir()
    (room.folder / "submitted" / "whole" / NAME).symlink_to(room.folder / "elsewhere" / NAME)
    assert room.grade() == 0
    for student, says in (("bad", "a link to a place outside"), ("loop", "cannot be opened"), ("pipe", "is not a file"),
                          ("whole", "a link to a place outside")):
        assert says in room.verdicts(student)["double"].message, student
    assert room.table()["good"]["total"] == "10"


def test_a_folder_with_an_odd_name_is_left_out(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("good", room.solved())
    room.submit("=cmd()", room.solved())
    assert room.grade() == 0
    assert list(room.table()) == ["good"] and "left out: the folder '=cmd()'" in capsys.readouterr().err


def test_a_missing_exercise_cell_costs_only_its_own_points(room: Class) -> None:
    room.submit("ada", deleted(room, "double"))
    assert room.grade() == 0
    found = room.verdicts("ada")
    assert found["double"].outcome is Outcome.MALFORMED and "is missing from the notebook" in found["double"].message
    assert room.table()["ada"]["total"] == "8" and room.judge.asked == [("guess", "top", "total", "frugal")]


@pytest.mark.parametrize(("second", "outcome", "score"), [
    ("def double(x): return 3 * x", Outcome.MALFORMED, "0"), ("# YOUR CODE HERE\nraise NotImplementedError()", Outcome.PASS, "2"),
    (None, Outcome.PASS, "2")])
def test_a_duplicated_cell_counts_only_where_its_meaning_is_clear(room: Class, second: str | None, outcome: Outcome, score: str) -> None:
    stub = next(c.source for c in room.blank.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
    room.submit("ada", doubled(room, room.answers["double"] if second is None else stub if "YOUR CODE" in second else second))
    assert room.grade() == 0
    assert room.verdicts("ada")["double"].outcome is outcome and room.table()["ada"]["double"] == score
    assert "stands 2 times" in room.page("ada")
    ids = [c.metadata.nbgrader.grade_id for c in room.autograded("ada").cells if "grade_id" in c.metadata.get("nbgrader", {})]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("keep_id", [True, False])
def test_a_cell_that_lost_its_mark_is_found(room: Class, keep_id: bool) -> None:
    node = room.solved()
    for cell in node.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in ("double", "guess"):
            del cell.metadata["nbgrader"]
            cell.id = cell.id if keep_id else "x" + cell.id[:5]
    room.submit("ada", node)
    assert room.grade() == 0
    assert room.table()["ada"]["total"] == "10" and "had lost its mark" in room.page("ada")


def test_locked_cells_and_marks_are_restored(room: Class) -> None:
    node = room.solved()
    for cell in node.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("grade_id") == "check-double":
            cell.source = "2.0"
            mark.update(locked=False, solution=True, points=99)
        if mark.get("grade_id") == "given-preamble":
            cell.cell_type, mark["grade"] = "raw", "yes"
        if mark.get("grade_id") == "double":
            cell.cell_type = "markdown"
            mark.clear()
            mark["grade_id"] = "double"
    node.cells = [c for c in node.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "check-top"]
    path = room.submit("ada", node)
    before = path.read_bytes()
    assert room.grade() == 0
    assert path.read_bytes() == before
    assert room.table()["ada"]["total"] == "10"
    fixed = {c.metadata.nbgrader.grade_id: c for c in room.autograded("ada").cells if "nbgrader" in c.metadata}
    original = {c.metadata.nbgrader.grade_id: c for c in room.blank.cells if "nbgrader" in c.metadata}
    assert list(fixed) == list(original)
    for name, cell in original.items():
        assert fixed[name].cell_type == cell.cell_type and fixed[name].metadata == cell.metadata
        assert name in room.answers or fixed[name].source == cell.source
    assert fixed["double"].source == room.answers["double"]
    assert "`check-double` had been changed" in room.page("ada").replace("<code>", "`").replace("</code>", "`")
    assert fixed["check-double"].outputs[0].data["text/html"]           # formgrader shows the report beside the answer


def test_an_older_format_is_read(room: Class) -> None:
    old = nbformat.convert(room.solved(), 3)
    room.submit("ada", json.dumps(old).encode())
    assert room.grade() == 0
    assert room.table()["ada"]["total"] == "10" and "older format" in room.page("ada")


def test_an_answer_without_end_is_malformed(room: Class) -> None:
    room.submit("ada", room.solved(double="#" * 1_000_000))
    assert room.grade() == 0
    assert "longer than 200 kB" in room.verdicts("ada")["double"].message and room.table()["ada"]["total"] == "8"


def test_text_of_a_person_flows(room: Class) -> None:
    from hpml.grade.feedback import _flowing, anchor
    assert _flowing("a\nb\n\nc\n- d\n- e\n1. f") == "a b\n\nc\n- d\n- e\n1. f"
    assert anchor("4. One product") == "4.-One-product"


def test_collect_never_raises_for_what_a_student_did(room: Class) -> None:
    handed_out = collect.release(room.lab, room.folder)
    junk: list[Any] = [None, -1, "", "\ud800", [], {}, {"grade_id": []}, True, 1e300, "raw", "check-double", ["a", 1]]
    for i, cell in enumerate(room.blank.cells):
        for field in [*cell, "metadata.nbgrader"]:
            for value in junk:
                node = json.loads(json.dumps(room.blank))
                if field == "metadata.nbgrader":
                    node["cells"][i]["metadata"]["nbgrader"] = value
                else:
                    node["cells"][i][field] = value
                found = collect.Submission("x")
                collect._sanitise(collect.reading.cells(json.dumps(node).encode(), found.notes), handed_out, found)
                assert found.notebook
                nbformat.writes(found.notebook).encode()
                assert found.answers.keys() | found.problems.keys() == room.lab.exercises.keys()
