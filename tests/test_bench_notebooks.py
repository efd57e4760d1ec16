"""hpml.grade.bench.notebooks: memory that children hold counts, goals, notebooks that fail. No time is judged."""

import json
from pathlib import Path

import nbformat
import pytest

from hpml import cli, course
from hpml.course import CourseError
from hpml.grade.bench import notebooks

CHILD = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'x = bytes(range(256)) * 800_000; import time; time.sleep(2)'])"


def solution(lab: course.Lab, root: Path, source: str) -> None:
    path = root / "solutions" / lab.lab / f"{lab.lab}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)


@pytest.fixture
def elsewhere(tiny: course.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> course.Lab:
    monkeypatch.setattr(course, "ROOT", tmp_path)
    return tiny


def test_memory_of_the_kernels_children_counts(elsewhere: course.Lab, tmp_path: Path) -> None:
    """The child holds 205 MB, the kernel none of them."""
    solution(elsewhere, tmp_path, CHILD)
    seconds, size = notebooks.execute(elsewhere)
    assert seconds > 2 and 0.205 < size < 0.7


def test_a_notebook_that_fails_or_is_not_there(elsewhere: course.Lab, tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="make it with: hpml build"):
        notebooks.execute(elsewhere)
    solution(elsewhere, tmp_path, "1 / 0")
    with pytest.raises(CourseError, match="stops with ZeroDivisionError: division by zero"):
        notebooks.execute(elsewhere)


def test_a_goal_is_met_where_the_median_is_within_it(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    runs = iter([(100.0, 2.5), (130.0, 1.5), (110.0, 2.2), (90.0, 1.0)])
    monkeypatch.setattr(notebooks, "execute", lambda lab: next(runs))
    assert cli.main(["bench", "notebooks", tiny.lab, "--rounds", "3", "--json"]) == 1
    time, memory = json.loads(capsys.readouterr().out)
    assert (time["value"], time["low"], time["high"], time["unit"], time["goal"], time["met"]) == (110, 100, 130, "s", 120, True)
    assert (memory["value"], memory["unit"], memory["goal"], memory["met"]) == (2.2, "GB", 2, False)
    assert cli.main(["bench", "notebooks", tiny.lab]) == 0 and "≤ 120" in capsys.readouterr().out
