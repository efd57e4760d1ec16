import shutil
from pathlib import Path

import numpy as np
import pytest

from hpml import course, exercise
from hpml.course import CourseError
from hpml.exercise import Exercise, Work, perturbed, speedup
from hpml.verdict import Measured, Outcome, Verdict


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


def test_the_truth_of_a_speedup_is_the_ratio_that_was_measured() -> None:
    first = Measured(target="memory", versus="loop", start=1, full=2, ratio=3, low=2, high=4, credit=1, samples=[(1.0, 1.0)])
    verdict = Verdict(lab="01-tiny", exercise="total", outcome=Outcome.PASS, score=1, max_score=1, message="")
    measured = verdict.model_copy(update={"measured": [first, first.model_copy(update={"target": "speedup", "ratio": 7.5})]})
    assert speedup("total")({"total": measured, "top": verdict}) == 7.5
    assert speedup("total")({"total": verdict}) is None and speedup("total")({}) is None


def test_perturbed_pictures_are_shifted_by_a_pixel_and_mirrored() -> None:
    pictures = np.zeros((400, 28, 20), np.uint8)
    pictures[:, 10, 5] = 255
    moved = perturbed(pictures, np.random.default_rng(0))
    assert moved.shape == (400, 28, 20, 1) and moved.dtype == np.float32 and set(np.unique(moved)) == {0, 1}
    places = {tuple(int(v) for v in np.argwhere(m > 0)[0]) for m in moved[..., 0]}
    assert places == {(r, c) for r in (9, 10, 11) for c in (4, 5, 6, 13, 14, 15)}
