"""The notebooks that `hpml build` makes: what is in them, ids that stay, nbgrader's metadata by nbgrader's own rules and commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator
from tiny_lab import DECK, ROOT, SOLVED, STUDENT, edit, rendered, tiny

from hpml import build, course
from hpml.build import notebook

__all__ = ["tiny"]


def cells(text: str) -> dict[str, dict]:
    return {cell["id"]: {**cell, "source": "".join(cell["source"])} for cell in json.loads(text)["cells"]}


def test_student_cells_and_their_metadata(tiny: Path) -> None:
    found = cells(rendered()[STUDENT])
    nbgrader = {name: {k: v for k, v in cell["metadata"]["nbgrader"].items() if k != "checksum"}
                for name, cell in found.items() if "nbgrader" in cell["metadata"]}
    flags, code = {"schema_version": 3, "task": False}, {"cell_type": "code"}
    assert nbgrader == {
        "given-preamble": {"grade_id": "given-preamble", **code, "grade": False, "solution": False, "locked": True, **flags},
        "predict-side": {"grade_id": "side", **code, "grade": False, "solution": True, "locked": False, **flags},
        "check-side": {"grade_id": "check-side", **code, "grade": True, "solution": False, "locked": True, "points": 1, **flags},
        "exercise-square": {"grade_id": "square", **code, "grade": False, "solution": True, "locked": False, **flags},
        "check-square": {"grade_id": "check-square", **code, "grade": True, "solution": False, "locked": True, "points": 3, **flags},
        "manual-explain": {"grade_id": "explain", "cell_type": "markdown", "grade": True, "solution": True, "locked": False, "points": 2.5,
                           **flags},
    }
    tagged = {name for name, cell in found.items() if cell["metadata"].get("tags") == ["raises-exception"]}
    assert tagged == {"check-side", "check-square", "code-square-3"}
    fixed = {name for name, cell in found.items() if cell["metadata"].get("editable") is False}
    assert fixed == {"given-preamble", "check-side", "check-square"}
    assert {name for name, cell in found.items() if cell["metadata"].get("deletable") is False} == set(nbgrader)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found.values())


def test_student_and_solution_say_what_the_source_says(tiny: Path) -> None:
    lab = course.load().ready()[0]
    wanted = notebook.in_notebook(notebook.read(lab))
    made = rendered()
    assert [c["source"] for c in cells(made[STUDENT]).values()] == [c.student for c in wanted]
    assert [c["source"] for c in cells(made[SOLVED]).values()] == [c.source for c in wanted]
    assert "### BEGIN SOLUTION" in made[SOLVED]
    for secret in ("area_of_the_square", "secret prediction", "twice the side"):
        assert secret in made[SOLVED] and secret not in made[STUDENT]
    assert "Only in the deck" not in made[SOLVED] and "Wait for guesses" not in made[STUDENT]


@pytest.mark.parametrize("name", [STUDENT, SOLVED])
def test_nbgrader_and_nbformat_accept_them(tiny: Path, name: str) -> None:
    made = nbformat.reads(rendered()[name], as_version=4)
    nbformat.validate(made)
    MetadataValidator().validate_nb(made)
    assert made.metadata.kernelspec.name == "python3" and "version" not in made.metadata.language_info


def test_nbgrader_would_grade_the_untouched_manual_answer_zero(tiny: Path) -> None:
    from nbgrader.utils import determine_grade
    made = {c.id: c for c in nbformat.reads(rendered()[STUDENT], as_version=4).cells}
    assert determine_grade(made["manual-explain"]) == (0, 2.5)
    made["manual-explain"].source = "It grows."
    assert determine_grade(made["manual-explain"]) == (None, 2.5)


def test_a_new_cell_changes_no_other_id(tiny: Path) -> None:
    before = list(cells(rendered()[STUDENT]))
    edit(tiny, '# %% [markdown] slide="notes"', '# %% [markdown]\n# Something new.\n\n# %%\nnew = 1\n\n# %% [markdown] slide="notes"')
    after = list(cells(rendered()[STUDENT]))
    assert [name for name in after if name in before] == before and set(after) - set(before) == {"text-something-new", "code-new-1"}


def test_ids_are_valid_and_unique_whatever_the_text(tiny: Path) -> None:
    added = ("Again", "Again", "Again, but longer", "# " + "word " * 40, "…", "…", "∑")
    extra = "".join(f"# %% [markdown]\n# {text}\n\n" for text in added)
    edit(tiny, '# %% [markdown] slide="notes"', extra + '# %% [markdown] slide="notes"')
    names = [c["id"] for c in json.loads(rendered()[STUDENT])["cells"]]
    assert len(names) == len(set(names)) == 17
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)


def test_values_are_filled_in(tiny: Path) -> None:
    made = rendered()
    assert "It is 412 times" in made[STUDENT] and "It is 412 times" in made[DECK] and "412 times the area" in made[SOLVED]
    assert all("{{" not in text for text in made.values())


def test_the_real_labs_read_as_they_are_written() -> None:
    """Every cell of a ready lab stands in its notebook or in its deck, and stubs are nbgrader's."""
    course.load.cache_clear()
    for lab in course.load().ready():
        found = notebook.read(lab)
        made = notebook.solution(lab, found)
        assert [c.source for c in notebook.student(made).cells] == [c.student for c in notebook.in_notebook(found)]
        MetadataValidator().validate_nb(made)


# -------------------------------------------------------------------------------------------- nbgrader, from the outside


def nbgrader(*arguments: str, cwd: Path) -> str:
    """Run nbgrader as an instructor does; returns what it said."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"           # it calls alembic by name
    ran = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=cwd, text=True, timeout=280,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PATH": path})
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.slow
def test_generate_assignment_makes_the_same_student_notebook(tiny: Path) -> None:
    build.main([])
    shutil.copy(ROOT / "nbgrader_config.py", tiny)
    nbgrader("generate_assignment", "04-tiny", "--force", cwd=tiny)
    assert build.main(["--check"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("lab", course.load().ready(), ids=lambda lab: lab.lab)
def test_stock_nbgrader_validates_and_autogrades(lab: course.Lab, tmp_path: Path) -> None:
    """Full marks for the solution, zero for the untouched notebook, by nbgrader's own commands."""
    from nbgrader.api import Gradebook

    solved = notebook.solution(lab, notebook.read(lab))
    untouched = notebook.student(solved)
    name = f"{lab.lab}.ipynb"
    answers = {c.id: c.source for c in solved.cells}
    handed_in = {"untouched": notebook.text(untouched)}
    for cell in untouched.cells:
        cell.source = answers[cell.id]
    handed_in["solved"] = notebook.text(untouched)
    for student, text in handed_in.items():
        build.write(tmp_path / "submitted" / student / lab.lab / name, text.encode())
    build.write(tmp_path / "solutions" / lab.lab / name, notebook.text(solved).encode())
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)

    # what a course's own prediction earns depends on the machine; everything else is full marks on every one
    kinds = {name: e.kind for name, e in lab.exercises.items()}
    said = nbgrader("validate", f"submitted/solved/{lab.lab}/{name}", cwd=tmp_path)
    failed = re.findall(r'^ +check\("(\w+)"\)', said, re.MULTILINE)
    assert {kinds[f] for f in failed} <= {"predict"}, said
    assert failed or "Success! Your notebook passes all the tests." in said
    said = nbgrader("validate", f"submitted/untouched/{lab.lab}/{name}", cwd=tmp_path)
    failed = re.findall(r'^ +check\("(\w+)"\)', said, re.MULTILINE)
    assert sorted(failed) == sorted(n for n, kind in kinds.items() if kind != "manual") and "Traceback" not in said

    nbgrader("generate_assignment", lab.lab, cwd=tmp_path)
    nbgrader("autograde", lab.lab, cwd=tmp_path)
    points = {kind: sum(e.points for e in lab.exercises.values() if e.kind == kind) for kind in ("code", "predict")}
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        scores = {s: gradebook.find_submission(lab.lab, s).score for s in handed_in}
        assert gradebook.find_submission(lab.lab, "solved").max_score == lab.points
    assert scores["untouched"] == 0
    assert points["code"] <= scores["solved"] <= points["code"] + points["predict"]
