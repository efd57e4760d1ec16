"""The figures of `hpml bench grading`, on a clock that stands still unless it is told; and one tiny run of both graders."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
import pytest

from hpml import cli, course
from hpml.build import notebook as made
from hpml.grade import bench, demo
from hpml.grade.bench import classroom, frameworks, stock
from hpml.grade.bench.classroom import Student
from hpml.referee import jail


class Machine:
    """A stand-in for processes and clock: each command takes the seconds that its first words are listed with."""

    def __init__(self, place: Path, seconds: Mapping[str, Sequence[float]]) -> None:
        self.now, self.seconds, self.commands, self.place = 0.0, {k: list(v) for k, v in seconds.items()}, [], place

    def clock(self) -> float:
        return self.now

    def call(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
        said = " ".join(command[1:])
        self.commands.append(said)
        for words, left in self.seconds.items():
            if words in said:
                self.now += left.pop(0) if len(left) > 1 else left[0]
                if words == "hpml.cli grade":
                    (folder / "grades.csv").write_text("student,lab,dense,step,total,max,outcomes,pending\n"
                                                       "solved-0,90-frameworks,2,3,5,10,,\n")
                return 1 if words == "autograde" else 0                 # stock says 1 where a kernel died
        if "classroom" in said:
            people = [Student("solved-0", "solved", frameworks.NAME), Student("looping-1", "looping", frameworks.NAME, "step")]
            (folder / "class.json").write_text(json.dumps([vars(s) for s in people]))
            for who in ("stock", "ours"):
                (folder / who).mkdir()
        return 0


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(stock, "scores", lambda folder, lab, students: {("solved-0", "dense"): 2.0, ("solved-0", "step"): 0.0})
    monkeypatch.setattr("nbgrader.api.Gradebook", lambda url: io.StringIO())
    return Machine(tmp_path, {"autograde": [100.0, 120.0], "generate_feedback": [30.0], "hpml.cli grade": [13.0, 15.0]})


def test_seconds_ratios_and_goals(machine: Machine) -> None:
    one = bench.Bench(machine.place, 2, 10.0, machine.call, machine.clock)
    rows, problems = bench.rows(one, ["checks"], 2, cores=2)
    found = {r["name"].split(": ")[1]: r for r in rows}
    # of 130 and 150 s stock waited 10 s for the answer that never ends, of 13 and 15 s two workers waited 5 s each
    assert found["stock"]["value"] == pytest.approx(math.sqrt(120 * 140) / 2)
    assert found["hpml"]["value"] == pytest.approx(math.sqrt(8 * 10) / 2)
    times = found["hpml's throughput, in stock's"]
    assert times["value"] == pytest.approx(math.sqrt(120 / 8 * 140 / 10)) and times["low"] < times["value"] < times["high"]
    assert times["goal"] == 10 and times["met"] is (times["low"] >= 10)
    equal = found["equal scores (2 that both know; 0 more that hpml alone knows)"]
    assert equal["value"] == 50 and equal["met"] is False and problems == ["solved-0, step: stock 0, hpml 3"]
    order = [c for c in machine.commands if "autograde" in c or "cli grade" in c]
    assert ["nbgrader autograde" in c for c in order] == [True, False, False, True]         # in turn, each round the other way round
    assert all("--no-execute" in c for c in order if "cli grade" in c)


def test_the_measured_part_is_held_against_stock_without_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "read_verdicts", lambda folder: [
        {"seconds": s, "measured": m, "outcome": o} for s, m, o in ((1.5, [1], "pass"), (1.7, [1], "pass"), (9.0, [1], "partial"),
                                                                    (0.1, [], "pass"))])
    rows, _ = bench.rows(bench.Bench(machine.place, 2, 10.0, machine.call, machine.clock), ["measured"], 1, cores=2)
    by_name = {r["name"]: r for r in rows}
    clear = by_name["a measured exercise, clear case"]
    assert (clear["value"], clear["low"], clear["high"], clear["goal"], clear["met"]) == (1.6, 1.5, 1.7, 2.0, True)
    ahead = next(r for r in rows if "measured exercises on top" in r["name"] and r["unit"] == "×")
    assert ahead["value"] == pytest.approx(ahead["low"]) == pytest.approx(130 / 15) and ahead["goal"] == 1 and ahead["met"]
    assert all(set(r) == {"name", "value", "low", "high", "unit", "goal", "met"} for r in rows)


def test_an_interval_is_students_of_logarithms() -> None:
    value, low, high = bench.interval([2.0, 2.0, 2.0])
    assert value == pytest.approx(2) == pytest.approx(low) == pytest.approx(high)
    value, low, high = bench.interval([1.0, 4.0])
    assert value == pytest.approx(2) and high / value == pytest.approx(value / low) == pytest.approx(math.exp(12.706 * math.log(2)))
    assert bench.interval([3.0]) == pytest.approx((3, 3, 3))
    narrow, wide = bench.interval([2.0, 2.2] * 4), bench.interval([2.0, 2.2] * 2)
    assert narrow[2] - narrow[1] < wide[2] - wide[1]


def test_scores_are_compared_only_where_both_can_know_them() -> None:
    people = [Student("a", "wrong", "x", "im2col"), Student("b", "crashing", "x", "conv"), Student("c", "solved", "x")]
    needs = {"x": {"im2col": [], "conv": ["im2col"], "loss": ["conv", "im2col"], "other": []}}
    ours = {(s, n): 1.0 for s in "abc" for n in needs["x"]}
    theirs = {k: v for k, v in ours.items() if k[0] != "b"}             # the kernel died
    ours.pop(("c", "other"))                                            # pending
    assert bench.comparable(people, needs, theirs, ours) == [("a", "im2col"), ("a", "other"), ("c", "conv"), ("c", "im2col"), ("c", "loss")]
    assert bench.needed([frameworks.NAME])[frameworks.NAME]["step"] == ["gradient"]


def test_a_table_without_what_is_pending(tmp_path: Path) -> None:
    (tmp_path / "grades.csv").write_text("student,lab,a,b,total,max,outcomes,pending\ns,x,1,,1,3,a: pass,b\nt,y,1,,1,3,,\n")
    assert bench.read_table(tmp_path, [Student("s", "solved", "x"), Student("t", "wrong", "x")], {"x": ["a", "b"]}) == {("s", "a"): 1.0}


def test_the_class_has_every_kind_in_both_labs_and_no_two_sources_are_alike() -> None:
    people = classroom.students(40)
    assert {(s.kind, s.lab): 4 for s in people} == {(k, lab): sum((s.kind, s.lab) == (k, lab) for s in people)
                                                    for k in classroom.KINDS for lab in classroom.LABS}
    text = (course.ROOT / "labs" / classroom.CONV / "lab.py").read_text(encoding="utf-8")
    bare = classroom.shortened(text, {"explain_knee"}, bare=True)
    assert 'exercise="im2col"' in bare and 'given="preamble"' in bare and "six_loops" not in bare and "explain_knee" not in bare
    lab = course.load().lab(classroom.CONV)
    sources = [tuple(sorted(given.items())) for _, given in classroom.answers(lab, people)]
    assert len(set(sources)) == len(sources) == 20
    broken = [s.broken for s, _ in classroom.answers(lab, people) if s.kind in ("wrong", "looping", "crashing")]
    assert all(broken)


def test_stock_checks_what_the_referee_checks(tiny: course.Lab) -> None:
    """The asserts, run here on right answers and on wrong ones."""
    node = stock.with_asserts(tiny, made.solution(tiny, made.read(tiny)))
    nbformat.validate(node)
    cells = {c.metadata.get("nbgrader", {}).get("grade_id"): c.source for c in node.cells}
    names: dict[str, object] = {}
    exec("import numpy as np\n" + cells["given-cases"], names)
    for answer, check in (("predict('guess', 2)", "check-guess"), ("def double(x): return 2 * x", "check-double"),
                          ("def top(x): return x[:len(x) // 2]", "check-top")):
        exec(f"{answer}\n{cells[check]}", names)
    for answer, check in (("predict('guess', 3)", "check-guess"), ("predict('guess', ...)", "check-guess"),
                          ("def double(x): return 3 * x", "check-double"), ("def double(x): return 2.0 * x.astype(float)", "check-double"),
                          ("def double(x): return x * np.nan", "check-double"), ("def top(x): return x[:len(x) // 2].copy()", "check-top")):
        with pytest.raises(AssertionError):
            exec(f"{answer}\n{cells[check]}", names)
    assert demo._answer                                                 # wrong answers come without their heads


def test_wrong_uses_of_the_command_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["bench", "grading", "--submissions", "3"])
    assert "at least 10 submissions" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(jail.bubblewrap_problem() is not None, reason="a class is graded in a jail")
def test_both_graders_agree_on_a_real_class(capsys: pytest.CaptureFixture[str]) -> None:
    """Times are not looked at, only that every figure is there and every score that both know is the same."""
    cli.main(["bench", "grading", "--json", "--submissions", "10", "--rounds", "1", "--part", "checks"])
    rows = json.loads(capsys.readouterr().out)
    equal = next(r for r in rows if "equal scores" in r["name"])
    assert equal["met"] and int(equal["name"].split("(")[1].split()[0]) >= 20, rows
