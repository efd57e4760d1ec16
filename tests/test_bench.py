"""The figures of `hpml bench referee`: counting, intervals and played-back noise; a few real submissions, whose times nobody judges."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from hpml import course
from hpml.referee import bench, jail, rig
from hpml.referee.rig import Noise

QUIET = Noise(tuple(0.01 * np.sin(np.arange(30.0))), (0.05,) * 30)
SMALL = bench.Effort(loads=(0,), workers=2, pairs=4, simulated=6, real=0, wall_real=0, wall_busy=0, repeats=1)


def measured(credit: float) -> Any:
    return SimpleNamespace(credit=credit, samples=[(1.0, 2.0)] * 5)


@pytest.mark.parametrize(("share", "credit", "noisy", "wrong"), [
    (0.9, 1.0, False, True), (0.9, 0.75, False, False), (1.1, 0.75, False, True), (1.1, 1.0, False, False), (1.1, 0.75, True, False),
    (1.0, 0.75, False, False), (1.0, 1.0, False, False)])
def test_what_a_false_verdict_is(share: float, credit: float, noisy: bool, wrong: bool) -> None:
    assert bench.false(share, measured(credit), noisy) is wrong


def test_too_noisy_is_counted_apart() -> None:
    tally = bench.Tally()
    answers = iter([(1.0, False), (1.0, True), (0.5, False), (0.5, False), (0.75, False),
                    (0.5, False), (0.5, False), (1.0, False), (0.5, False), (0.5, False)])
    tally.add(2, lambda share: (lambda credit, noisy: (measured(credit), noisy))(*next(answers)))
    found = {r["name"]: r for r in tally.rows("x")}
    assert found["x, 0.8 × target: false pass (2 verdicts)"]["value"] == 50                 # full credit, then half
    assert found["x, 0.9 × target: false pass (1 verdicts)"]["value"] == 0                  # the other one was too noisy
    assert found["x, 1.25 × target: false fail (2 verdicts)"]["met"] is False
    assert found["x, 1 × target: full credit (2 verdicts)"] | {"value": 50, "goal": None, "met": None} \
        == found["x, 1 × target: full credit (2 verdicts)"]
    assert found["x: too noisy (10 verdicts)"]["value"] == 10 and found["x: pairs for a verdict"]["value"] == 5


def test_without_verdicts_no_goal_is_met() -> None:
    tally = bench.Tally()
    tally.add(1, lambda share: (measured(1.0), True))
    rows = tally.rows("x")
    assert all(r["met"] is None for r in rows if "false" in r["name"]) and any(r["met"] is False for r in rows)


def test_proportions_have_honest_intervals() -> None:
    assert bench.wilson(0, 0) == (0, 100)
    low, high = bench.wilson(0, 40)
    assert low == 0 and 8 < high < 9.5                          # none of 40 does not show less than 1 %
    low, high = bench.wilson(5, 10)
    assert low == pytest.approx(100 - high) and 23 < low < 24


def test_bias_and_spread_are_found_in_noise_that_has_them() -> None:
    rng = np.random.default_rng(1)
    errors = rng.normal(size=(6, 48))
    errors = 0.05 + 0.2 * (errors - errors.mean()) / errors.std(ddof=1)
    bias, spread, single = bench.spread_rows("x", [Noise(tuple(e), (0.1,) * 48) for e in errors], np.random.default_rng(2))
    assert bias["value"] == pytest.approx(0.05) and bias["low"] < 0.05 < bias["high"] and bias["met"] is False
    assert spread["name"] == "x: SD of 12 pairs" and spread["met"] is False
    assert spread["value"] == pytest.approx(errors.reshape(-1, 12).mean(1).std(ddof=1))
    assert single["value"] == pytest.approx(0.2) and single["low"] < 0.2 < single["high"] and single["met"] is None
    assert all(r["met"] is not False for r in bench.spread_rows("x", [QUIET], np.random.default_rng(2)))


def test_noise_is_played_back_in_pairs_and_moves_the_clock() -> None:
    tape = rig.Tape([QUIET], 3.0, np.random.default_rng(1), louder=2.0)
    for turn in range(20):
        first, second = ("student", "baseline") if turn % 2 else ("baseline", "student")
        took = {first: tape.take(first), second: tape.take(second)}
        error = np.log(took["baseline"] / took["student"] / 3.0) / 2
        assert np.isclose(error, QUIET.errors[tape.at])
    assert tape.now == pytest.approx(20 * 0.05)


def test_drifts_stay_in_played_back_noise() -> None:
    drift = Noise(tuple(np.arange(50.0)), (0.1,) * 50)
    tape = rig.Tape([drift], 1.0, np.random.default_rng(3))
    places = [(tape.take("student"), tape.take("baseline"), tape.at)[2] for _ in range(400)]
    following = np.mean([(b - a) % 50 == 1 for a, b in zip(places, places[1:], strict=False)])
    assert 0.8 < following < 0.95                               # a jump at one pair in eight


@pytest.mark.parametrize(("share", "full"), [(0.8, False), (0.9, False), (1.1, True), (1.25, True)])
def test_simulated_verdicts_are_the_referees(share: float, full: bool) -> None:
    found, noisy = rig.simulate([QUIET], share, np.random.default_rng(4))
    assert (found.credit == 1) is full and not noisy and found.low < 2 * share < found.high


def test_hopeless_noise_is_never_full_credit_below_the_target() -> None:
    rng = np.random.default_rng(5)
    wild = Noise(tuple(rng.standard_t(2, 60)), (0.5,) * 60)
    verdicts = [rig.simulate([wild], 0.8, rng) for _ in range(40)]
    assert any(noisy for _, noisy in verdicts) and sum(found.credit == 1 for found, _ in verdicts) <= 2


@pytest.mark.parametrize("clock", ["cpu", "wall"])
def test_work_in_known_steps(clock: str) -> None:
    """The functions compute what their oracles expect, and rounding puts no submission on the other side of a limit."""
    kernel = rig.KERNELS[clock]
    space: dict[str, Callable[..., Any]] = {"np": np}      # type: ignore[dict-item]
    exec(kernel.source, space)
    args = kernel.exercise.sample(np.random.default_rng(6), {"rounds": 2})
    assert np.allclose(space[kernel.name](*args), kernel.exercise.oracle(*args))
    for share in bench.SHARES:
        true = kernel.rounds / kernel.student(share) / rig.TARGET.full
        assert true == pytest.approx(share, rel=0.01 if clock == "wall" else 1e-12)
        assert (true <= 0.9) == (share <= 0.9) and (true >= 1.1) == (share >= 1.1)


def test_neighbours_end_with_their_block() -> None:
    with pytest.raises(KeyError), rig.neighbours(2) as pids:
        assert all(psutil.Process(pid).ppid() == os.getpid() for pid in pids)
        raise KeyError
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_real_submissions() -> None:
    backend = jail.choose("auto")
    with rig.Rig(backend, "cpu", [7]) as one:
        noise = one.record(0.5, 4)
        assert len(noise.errors) == len(noise.seconds) == 4 and max(map(abs, noise.errors)) < 1
        fast, _ = one.trial(1.25)
        slow, _ = one.trial(0.5)
    assert fast.ratio > slow.ratio and len(fast.samples) >= 4
    assert one.baseline.worker.arena_fd < 0                     # closed


def test_rows_of_the_whole_bench(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "QUICK", SMALL)
    status = bench.main(["--quick", "--json", "--seed", "3"])
    found = json.loads(capsys.readouterr().out)
    assert status == (0 if all(r["met"] is not False for r in found) else 1)
    assert all(set(r) == {"name", "value", "low", "high", "unit", "goal", "met"} for r in found)
    assert all(r["low"] <= r["value"] <= r["high"] for r in found), [r for r in found if not r["low"] <= r["value"] <= r["high"]]
    names = " | ".join(r["name"] for r in found)
    for expected in ("A/A, cpu clock, idle: bias", "planted 2.0, cpu clock, idle: SD of 4 pairs",
                     "simulated, idle, 1.1 × target: false fail",
                     "overhead left after subtraction", "start of a worker, forked", "01-tiny total: measured verdict",
                     "01-tiny double: correctness verdict"):
        assert expected in names
    bench.show(found)
    assert "start of a worker" in capsys.readouterr().out


def test_the_same_seed_simulates_the_same() -> None:
    assert bench.simulated_rows({0: [QUIET]}, SMALL, 5) == bench.simulated_rows({0: [QUIET]}, SMALL, 5)


def test_the_planted_ratio_is_counted_in_instructions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = iter([100, 200, 300])
    monkeypatch.setattr(rig.shutil, "which", lambda name: "/usr/bin/valgrind")
    monkeypatch.setattr(rig, "instructions", lambda rounds, calls: next(counts))
    assert rig.counted_ratio(10) == 2.0
    monkeypatch.setattr(rig.shutil, "which", lambda name: None)
    assert rig.counted_ratio(10) is None
