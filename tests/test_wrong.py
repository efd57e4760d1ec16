from pathlib import Path

import pytest

from hpml import course, wrong
from hpml.course import CourseError
from hpml.verdict import Outcome, Verdict


def verdict(exercise: str, outcome: Outcome, message: str = "") -> Verdict:
    return Verdict(lab="01-tiny", exercise=exercise, outcome=outcome, score=0, max_score=1, message=message)


def test_headers(tiny: course.Lab) -> None:
    found = wrong.read(tiny)
    assert [(w.exercise, w.outcome, w.shows, w.why) for w in found] == [("double", Outcome.WRONG, "That is thrice.", "three is not two")]
    assert wrong.dependents(tiny, "double") == ["total"]


@pytest.mark.parametrize(("text", "says"), [
    ("# exercise: double\n# outcome: wrong\n# why: x\n", "no `# shows: …`"),
    ("# exercise: duble\n# outcome: wrong\n# shows: x\n# why: x\n", "did you mean 'double'"),
    ("# exercise: double\n# outcome: rong\n# shows: x\n# why: x\n", "did you mean 'wrong'"),
])
def test_bad_headers_are_named(tiny: course.Lab, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "w.py"
    path.write_text(text)
    with pytest.raises(CourseError, match=says):
        wrong.parse(path, tiny)


def test_complaints() -> None:
    w = wrong.Wrong(Path("w.py"), "double", Outcome.WRONG, "thrice", "", "")
    assert wrong.complaints(w, [verdict("double", Outcome.WRONG, "that is thrice"), verdict("total", Outcome.PASS)]) == []
    assert "outcome is pass, not wrong" in wrong.complaints(w, [verdict("double", Outcome.PASS)])[0]
    assert "is not in" in wrong.complaints(w, [verdict("double", Outcome.WRONG, "no")])[0]
    assert wrong.complaints(w, [verdict("double", Outcome.WRONG, "thrice"), verdict("total", Outcome.WRONG)]) == ["total fails too: wrong"]
