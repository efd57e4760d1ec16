"""The made-up class: what it should earn is said beside what it earns, and a difference is noticed."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import nbformat
import pytest

from hpml import course, wrong
from hpml.build import notebook as made
from hpml.grade import demo
from hpml.referee import jail
from hpml.verdict import Outcome, Verdict

STUDENTS = ["amara", "bilal", "chiyo", "dagny", "emeka", "farah"]


class FakeJudge:
    """Knows the lab's own answers and its wrong ones."""

    def __init__(self, lab: course.Lab, **wrongly: Outcome) -> None:
        self.answers, self.wrong = made.read(lab).answers, {demo._answer(w) for w in wrong.read(lab)}
        self.wrongly = wrongly

    def __call__(self, lab: str, cells: dict[str, str], exercises: list[str]) -> list[Verdict]:
        verdicts = []
        for name in exercises:
            most = course.load().lab(lab).exercises[name].points
            outcome = (Outcome.PASS if cells[name] == self.answers[name] else Outcome.WRONG if cells[name] in self.wrong
                       else Outcome.NOT_ATTEMPTED)
            if outcome is Outcome.PASS:
                outcome = self.wrongly.get(name, outcome)
            verdicts.append(Verdict(lab=lab, exercise=name, outcome=outcome, score=most if outcome is Outcome.PASS else 0.0, max_score=most,
                                    message="As told.", jail="bubblewrap"))
        return verdicts


def test_the_circle_closes(tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "to" / "demo"
    assert demo.main(["--to", str(folder)], FakeJudge(tiny)) == 0
    out = capsys.readouterr().out
    assert "no" not in [row.split("│")[-2].strip() for row in out.splitlines() if row.startswith("│")]
    assert all(name in out for name in STUDENTS) and "feedback" in out and "gradebook" in out
    with open(folder / "grades.csv", encoding="utf-8") as file:
        assert [(row["student"], row["total"]) for row in csv.DictReader(file)] == [
            ("amara", "10"), ("bilal", "4"), ("chiyo", "0"), ("dagny", "8"), ("emeka", "0"), ("farah", "8")]
    for part in ("source", "release", "autograded/amara", "submitted/farah"):
        nbformat.read(folder / part / tiny.lab / f"{tiny.lab}.ipynb", as_version=4)


def test_a_difference_is_named(tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--to", str(tmp_path / "demo")], FakeJudge(tiny, top=Outcome.WRONG, total=Outcome.TOO_NOISY)) == 1
    out = capsys.readouterr().out
    assert "amara, top: expected pass (1), got wrong (0)" in out and "amara, total: expected pass (4), got too noisy (pending)" in out
    assert "bilal, total" not in out


@pytest.mark.parametrize(("options", "kept"), [([], False), (["--keep"], True)])
def test_a_temporary_folder_goes_unless_it_is_kept(tiny: course.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str],
                                                   kept: bool) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert demo.main(options, FakeJudge(tiny)) == 0
    assert bool(list(tmp_path.glob("hpml-demo-*/grades.csv"))) is kept
    assert len(list(tmp_path.glob("hpml-demo-*"))) == kept


def test_somebody_elses_folder_is_left_alone(tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("work")
    assert demo.main(["--to", str(tmp_path)], FakeJudge(tiny)) == 2
    assert "not empty" in capsys.readouterr().err and (tmp_path / "mine").read_text() == "work"
    assert demo.main(["99-nothing"]) == 2


def test_the_referee_itself_agrees(tiny: course.Lab, tmp_path: Path) -> None:
    """No stand-in: every score of the class through real workers."""
    options = ["--unjailed"] if jail.bubblewrap_problem() else []
    assert demo.main(["--to", str(tmp_path / "demo"), *options]) == 0
