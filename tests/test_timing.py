"""Pairing, stopping and noise, with made-up blocks and a clock that is turned by hand."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hpml.course import Target
from hpml.referee import timing

TARGET = Target(versus="slow", start=2, full=20)


class Hand:
    """A clock that moves when a block runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def series(clock: Hand, seconds: Callable[[], float], name: str = "", log: list[str] | None = None) -> Any:
    def block() -> float:
        took = seconds()
        clock.now += took
        if log is not None:
            log.append(name)
        return took
    return SimpleNamespace(block=block, exercise=SimpleNamespace(timing="cpu"))


def race(ratio: float, spread: float = 0.02, student: float = 1e-3, seed: int = 1, **more: Any) -> tuple[Any, bool]:
    clock, rng = Hand(), np.random.default_rng(seed)
    s = series(clock, lambda: student * float(np.exp(rng.normal(0, spread))))
    b = series(clock, lambda: ratio * student * float(np.exp(rng.normal(0, spread))))
    return timing.pairs(s, b, TARGET, "speedup", np.random.default_rng(seed), clock=clock, **more)


def test_a_clear_answer_stops_early() -> None:
    found, noisy = race(100, student=1e-4)
    assert not noisy and found.credit == 1 and len(found.samples) == timing.ENOUGH_PAIRS
    assert found.low < 100 < found.high
    slow, _ = race(100, student=0.01)                       # a pair takes a second: four are enough
    assert len(slow.samples) == timing.LEAST_PAIRS


def test_no_credit_is_clear_too() -> None:
    found, noisy = race(1.0)
    assert not noisy and found.credit == 0 and len(found.samples) == timing.ENOUGH_PAIRS


def test_a_close_answer_takes_more_samples() -> None:
    found, _ = race(19.5, spread=0.1)
    assert len(found.samples) > timing.ENOUGH_PAIRS


def test_the_budget_ends_it_and_noise_is_said() -> None:
    found, noisy = race(6.3, spread=0.8, student=0.05, budget=3)
    assert noisy and len(found.samples) < timing.MOST_PAIRS


def test_noise_never_raises_the_credit_of_a_slow_answer() -> None:
    """The lower end counts: over many measurements of a true ratio of 4, quarter steps above the true one are rare."""
    true = timing.measure.credit(4.0, TARGET.start, TARGET.full)
    above = sum(race(4.0, spread=0.1, seed=s)[0].credit > true for s in range(60))
    assert above <= 3


def test_order_alternates_at_random() -> None:
    clock, log = Hand(), []
    timing.pairs(series(clock, lambda: 1e-3, "s", log), series(clock, lambda: 3e-3, "b", log), TARGET, "speedup",
                 np.random.default_rng(3), clock=clock)
    first = log[::2]
    assert 0 < first.count("s") < len(first) and log.count("s") == log.count("b")


def test_a_machine_against_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rng = Hand(), np.random.default_rng(5)
    logs = timing.control(series(clock, lambda: 1e-3 * float(np.exp(rng.normal(0, 0.02)))).block)
    found = timing.measure.interval(logs)
    assert found.low < 1 < found.high and found.pairs == 10


def wall_race(waiting: float, ratio: float = 100.0) -> tuple[Any, bool]:
    clock, rng = Hand(), np.random.default_rng(2)
    s = series(clock, lambda: 1e-3 * float(np.exp(rng.normal(0, 0.01))))
    b = series(clock, lambda: ratio * 1e-3)
    s.exercise.timing = "wall"
    b.waiting = waiting
    return timing.pairs(s, b, TARGET, "speedup", np.random.default_rng(2), clock=clock)


def test_on_a_busy_machine_the_clock_on_the_wall_decides_nothing() -> None:
    assert wall_race(0.01)[1] is False and wall_race(0.01)[0].credit == 1
    found, noisy = wall_race(0.05)
    assert noisy and len(found.samples) <= timing.ENOUGH_PAIRS              # and it does not go on for the whole budget
    assert wall_race(0.05, ratio=1.0)[1]                                    # nor is it a fail


def test_waiting_does_not_matter_to_the_processor_clock() -> None:
    clock, rng = Hand(), np.random.default_rng(2)
    s, b = (series(clock, lambda t=t: t * float(np.exp(rng.normal(0, 0.01)))) for t in (1e-3, 0.1))
    b.waiting = 9.0
    assert timing.pairs(s, b, TARGET, "speedup", rng, clock=clock)[1] is False


class Books:
    """A worker whose block takes 5 ms of processor time; the kernel books a part of that late, or it went on while it was frozen."""

    def __init__(self, early: int = 0, late: int = 0) -> None:
        self.early, self.late, self.stage, self.reads, self.cores = early, late, 0, 0, 1
        self.arena = np.zeros(4096, np.uint8)

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        if "go" in request:
            self.stage = 1
        return {"done": []}

    def cpu_ns(self) -> int:
        self.reads += 1
        total = 1_000_000 + self.early * (self.reads > 1) + 5_000_000 * self.stage
        return total + self.late * (self.reads > 4)             # before, twice at the start, after; and once more when all is verified

    def waited_ns(self) -> int:
        return 0

    def lost_ns(self, waited: int, ran: int, wall: int) -> int:
        return 0


def seconds(timing_: str, **moved: int) -> float:
    exercise = SimpleNamespace(timing=timing_, seconds=1.0)
    one = timing.Series(Books(**moved), exercise, "f", {}, np.random.default_rng(0), lambda calls: [])     # type: ignore[arg-type]
    return one.checked([])[0]


def test_what_is_booked_on_a_frozen_worker_is_counted_and_accuses_nobody() -> None:
    assert seconds("cpu") == pytest.approx(5e-3)
    assert seconds("cpu", early=4_000_000) == pytest.approx(9e-3)           # work before the start
    assert seconds("cpu", late=4_000_000) == pytest.approx(9e-3)            # work after the answer
    assert seconds("wall", early=4_000_000, late=8_000_000) >= 12e-3        # nobody gains by any clock


@pytest.mark.parametrize("moved", [{"early": timing.LATE_NS + 1}, {"late": timing.LATE_NS + 1}])
def test_more_than_the_kernel_books_late_is_work_in_the_dark(moved: dict[str, int]) -> None:
    with pytest.raises(timing.Tampered, match="went on while it was frozen"):
        seconds("cpu", **moved)
