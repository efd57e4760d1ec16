import json
import stat
from pathlib import Path

import pytest

from hpml import cli, course
from hpml.course import CourseError
from hpml.referee import evidence
from hpml.referee.client import Referee
from hpml.verdict import Measured, Outcome, Verdict


def verdict(**more: object) -> Verdict:
    return Verdict(lab="01-tiny", exercise="double", score=1, max_score=2, message="m", **{"outcome": Outcome.PARTIAL, **more})  # type: ignore[arg-type]


def test_a_signature_holds_until_something_is_changed(tiny: course.Lab) -> None:
    signed = evidence.sign(verdict())
    assert evidence.verified(signed) is True
    signed.notes.append("a note may come later")
    assert evidence.verified(signed) is True
    evidence_of_another = {**signed.evidence, "seed": 3}
    for field, value in (("score", 2.0), ("outcome", Outcome.PASS), ("message", "x"), ("lab", "02"), ("evidence", evidence_of_another)):
        assert evidence.verified(signed.model_copy(update={field: value})) is False, field
    assert evidence.verified(verdict()) is None
    again = Verdict.model_validate_json(signed.model_dump_json())
    assert evidence.verified(again) is True


def test_the_key_is_private_and_kept(tiny: course.Lab) -> None:
    assert evidence.key() is None
    made = evidence.key(make=True)
    assert made and evidence.key() == made == evidence.key(make=True)
    assert stat.S_IMODE(evidence.key_path().stat().st_mode) == 0o600
    evidence.key_path().write_text("no key")
    with pytest.raises(CourseError, match="does not hold a key"):
        evidence.key()


def measured(credit: float) -> Measured:
    return Measured(target="speedup", versus="v", start=2, full=20, ratio=5, low=4, high=6, credit=credit, samples=[])


def test_what_counts_as_agreement() -> None:
    old = verdict(measured=[measured(0.5)], counters={"peak_bytes": 60.0}, budgets={"peak_bytes": 64.0})
    assert evidence.differences(old, old) == []
    assert evidence.differences(old, old.model_copy(update={"measured": [measured(0.75)]})) == []
    assert "speedup" in evidence.differences(old, old.model_copy(update={"measured": [measured(1.0)]}))[0]
    assert "outcome" in evidence.differences(old, old.model_copy(update={"score": 0.0, "outcome": Outcome.WRONG}))[0]
    assert "peak_bytes" in evidence.differences(old, old.model_copy(update={"counters": {"peak_bytes": 70.0}}))[0]
    assert "lab itself" in evidence.differences(old, old.model_copy(update={"evidence": {"lab_sha256": "1"}}))[0]


def test_replay(tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Referee(purpose="grade") as referee:
        found = referee.judge("01", {"double": "def double(x): return 2 * x", "total": "def total(x): return double(x).sum(keepdims=True)"},
                              ["total"])[0]
    path = tmp_path / "total.json"
    path.write_text(json.dumps({"key": "k", "verdict": found.model_dump(mode="json")}))
    assert cli.main(["replay", str(path)]) == 0
    assert "Signature: valid." in (out := capsys.readouterr().out) and "The second run agrees." in out
    found.score = 0
    path.write_text(found.model_dump_json())
    assert cli.main(["replay", str(path)]) == 1
    assert "NOT VALID" in (out := capsys.readouterr().out) and "does not agree" in out
    path.write_text("{}")
    assert cli.main(["replay", str(path)]) == 1
    assert "holds no verdict" in capsys.readouterr().err
    path.write_text(verdict().model_dump_json())
    assert cli.main(["replay", str(path)]) == 1
    assert "cannot be run again" in capsys.readouterr().err
