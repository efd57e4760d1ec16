from pathlib import Path

import pytest

from hpml import course, source
from hpml.course import CourseError

TINY = (Path(__file__).parent / "tiny/labs/01-tiny/lab.py").read_text()


def test_cells_know_what_they_are_for(tiny: course.Lab) -> None:
    found = source.read(tiny)
    assert set(found.answers) == {"guess", "double", "top", "total", "frugal"}
    assert found.given == {"preamble": "import numpy as np"}
    assert found.cells[0].kind == "markdown" and found.cells[0].source == "# How much is twice as much?"
    assert found.cells[0].slide == "slide"
    ordinary = next(c for c in found.cells if c.uses)
    assert ordinary.uses == ("double",) and ordinary.role == ""


def test_the_student_version_holds_no_solution(tiny: course.Lab) -> None:
    cell = source.read(tiny).by_role("exercise")["double"]
    assert "2 * x" in cell.solution and "SOLUTION" not in cell.solution
    assert cell.student.endswith("    # YOUR CODE HERE\n    raise NotImplementedError()") and "2 * x" not in cell.student
    assert source.read(tiny).stubs["guess"] == 'predict("guess", ...)'
    assert "Because" not in source.read(tiny).by_role("manual")["why"].student


@pytest.mark.parametrize(("good", "bad", "says"), [
    ('exercise="double"', 'exercize="double"', r"lab.py:\d+: unknown cell key 'exercize' \(did you mean 'exercise'\?\)"),
    ('exercise="double"', 'exercise="duble"', r"lab.py:\d+: course.yml has no exercise 'duble' \(did you mean 'double'\?\)"),
    ('exercise="double"', 'exercise="double" check="double"', "a cell has one role"),
    ("    ### END SOLUTION", "", "in pairs"),
    ('slide="slide"', 'slide="slid"', "did you mean 'slide'"),
    ('# %% check="top"\ncheck("top")', "", "no cell has check=\"top\""),
    ('# %% check="top"', '# %% check="double"', "stands 2 times"),
    ('[markdown] manual="why"', 'manual="why"', "markdown"),
])
def test_mistakes_are_named(tiny: course.Lab, good: str, bad: str, says: str) -> None:
    assert good in TINY
    with pytest.raises(CourseError, match=says):
        source.parse(TINY.replace(good, bad, 1), tiny, Path("lab.py"))


def test_a_lab_without_source(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(course, "ROOT", tmp_path)
    with pytest.raises(CourseError, match=r"lab.py is not here"):
        source.read(tiny)
