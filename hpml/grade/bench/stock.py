"""What stock nbgrader needs to grade the same class: cells of asserts in place of the checks, and its scores read back.

The asserts see what the referee's correctness check sees: the same sizes, public and hidden, as often, with the oracle's results,
shape, dtype, tolerance, and that a view is a view. The results are in the notebook, so its kernel imports nothing for the checks.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

from hpml import exercise
from hpml.course import Lab
from hpml.exercise import Exercise, Prediction

CONFIG = '''c = get_config()                # noqa: F821
c.CourseDirectory.course_id = "bench"
c.CourseDirectory.db_url = "sqlite:///gradebook.db?timeout=60"
c.Execute.timeout = {timeout}
c.Execute.iopub_timeout = {timeout}         # else a notebook is given up where importing TensorFlow is silent for 4 s
'''

HELPER = '''import base64
import io
import json

import numpy as np

test_arrays = np.load(io.BytesIO(base64.b64decode("{arrays}")))
test_cases = json.loads("""{cases}""")
said = {{}}


def predict(name, value=None, *rest):
    said[name] = value


def expect(name, function):
    for case in test_cases[name]:
        arguments = [test_arrays[key].copy() if test_arrays[key].ndim else test_arrays[key].item() for key in case["arguments"]]
        got = function(*arguments)
        got = got if case["several"] else (got,)
        wanted = [test_arrays[key] for key in case["returns"]]
        assert len(got) == len(wanted), "another number of results"
        for g, w in zip(got, wanted):
            assert isinstance(g, np.ndarray) and g.shape == w.shape and g.dtype == w.dtype, "no such array"
            allowed = case["tolerance"].get(w.dtype.name, 0) * abs(w).max()
            assert abs(g - w).max() <= allowed, "other values"
            assert not case["view"] or np.may_share_memory(g, arguments[0]), "a copy"


def near(name, truth, within):
    value = said[name]
    assert isinstance(value, (int, float)) and abs(value - truth) <= within * abs(truth)
'''


def with_asserts(lab: Lab, solved: Any) -> Any:
    """The solved notebook with checks that a stock kernel can run."""
    node = nbformat.from_dict(json.loads(json.dumps(solved)))
    declared = exercise.load(lab)
    arrays: dict[str, np.ndarray] = {}
    cases = {name: _cases(e, arrays) for name, e in declared.items() if isinstance(e, Exercise)}
    for cell in node.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "").removeprefix("check-")
        if not cell.metadata.get("nbgrader", {}).get("grade") or name not in declared:
            continue
        one = declared[name]
        if isinstance(one, Prediction):
            cell.source = f"near({name!r}, {one.truth({})}, {lab.exercises[name].within})"
        else:
            cell.source = f"expect({name!r}, {name})"
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    helper = nbformat.v4.new_code_cell(
        HELPER.format(arrays=base64.b64encode(packed.getvalue()).decode(), cases=json.dumps(cases)), id="given-cases",
        metadata={"nbgrader": {"grade": False, "grade_id": "given-cases", "locked": True, "schema_version": 3, "solution": False,
                               "task": False}})
    first = next(i for i, c in enumerate(node.cells) if c.metadata.get("nbgrader", {}).get("solution"))
    node.cells.insert(first, helper)
    return node


def _cases(declared: Exercise, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """What the referee calls: public sizes twice, hidden ones once. Arguments and results go into `arrays`."""
    def put(value: Any) -> str:
        key = f"a{len(arrays)}"
        arrays[key] = np.asarray(value)
        return key
    found = []
    rng = np.random.default_rng(7)
    for size in (*declared.sizes, *declared.sizes, *declared.hidden):
        arguments = declared.sample(rng, size)
        expected = declared.oracle(*arguments)
        several = isinstance(expected, tuple)
        found.append({"arguments": [put(a) for a in arguments], "returns": [put(e) for e in (expected if several else (expected,))],
                      "several": several, "view": declared.view, "tolerance": dict(declared.tolerance)})
    return found


def scores(folder: Path, lab: str, students: list[str]) -> dict[tuple[str, str], float]:
    """(student, exercise) → score, as the gradebook holds it; nothing where the kernel died, since no grade was given there."""
    from nbgrader.api import Gradebook
    found: dict[tuple[str, str], float] = {}
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        for student in students:
            if not (folder / "autograded" / student / lab / f"{lab}.ipynb").is_file():
                continue
            for grade in book.find_submission_notebook(lab, lab, student).grades:
                if grade.auto_score is not None:
                    found[student, grade.name.removeprefix("check-")] = float(grade.auto_score)
    return found
