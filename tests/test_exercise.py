import shutil
from pathlib import Path

import pytest

from hpml import course, exercise
from hpml.course import CourseError
from hpml.exercise import Exercise, Work


def test_declarations_agree_with_the_manifest(tiny: course.Lab) -> None:
    declared = exercise.load(tiny)
    assert set(declared) == {"guess", "double", "top", "total", "frugal"}
    total = declared["total"]
    assert isinstance(total, Exercise)
    assert total.baseline_source("python_sum").startswith("def python_sum(x):")
    assert Work(8.0, 2.0).intensity == 4


@pytest.mark.parametrize(("good", "bad", "says"), [
    ('"top": Exercise', '"tip": Exercise', "declared only in"),
    ('"guess": Prediction(truth=lambda verdicts: 2.0, unit="×", explain=lambda guess, truth: "Twice is two.")',
     '"guess": Exercise(sample, lambda x: x, SIZES)', "kind: predict"),
    ('baselines={"python_sum": python_sum}', "baselines={}", "no baseline called 'python_sum'"),
])
def test_disagreement_is_named(tiny: course.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str, bad: str, says: str) -> None:
    shutil.copytree(course.ROOT / "labs", tmp_path / "labs")
    path = tmp_path / "labs/01-tiny/exercises.py"
    assert good in path.read_text()
    path.write_text(path.read_text().replace(good, bad))
    monkeypatch.setattr(course, "ROOT", tmp_path)
    with pytest.raises(CourseError, match=says):
        exercise.load(tiny)


def test_a_students_distribution_says_that_it_cannot_check(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(course, "ROOT", tmp_path)
    with pytest.raises(CourseError, match="no trusted side"):
        exercise.load(tiny)
