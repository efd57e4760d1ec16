"""Timed blocks and paired measurements. One block is one call, or as many as make it long enough to time:

worker frozen → fresh random inputs written → clock → resume → done → frozen → clock → those very outputs compared with the
oracle's. Student and baseline alternate in random order. The processor clock is read while the jail is frozen, so work that goes
on after the answer is counted, and stops. What the kernel books while the worker stands still is counted, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpml import measure
from hpml.course import Target
from hpml.exercise import Case, Exercise, Size
from hpml.referee import arrays, compare
from hpml.referee.compare import Memory, Problem, Tampered
from hpml.referee.jail import Died
from hpml.referee.oracle import OracleError
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.workers import Stubborn, Worker
from hpml.verdict import Measured

BLOCK = 0.02                # seconds: short calls are repeated until a block takes about this long
WALL_BLOCK = 0.1            # by the clock on the wall: waking and stopping threads on several cores is a smaller part of it
LATE_NS = 20_000_000        # the kernel books a thread's time at the next tick or when it leaves its core: at most five ticks later
MOST_CALLS = 64
MOST_PAIRS = 60
LEAST_PAIRS = 4             # never fewer, however slow
ENOUGH_PAIRS = 12           # where pairs are quick, not fewer than this either: the reader sees a narrower interval
ENOUGH_SECONDS = 1.0
CONTROL_PAIRS = 10
BUDGET = 15.0               # seconds of wall time for one target
CLOCK_RISES = 0.5           # seconds of work after which a GPU runs at its full clock
QUIET_RANKS = 0.05          # the same for several ranks on all cores, where the referee itself must run beside them
BUDGET_RANKS = 30.0         # seconds: their blocks are long, and so is the oracle's single-process run that verifies each
QUIET = 0.02                # by the clock on the wall: the largest share of its cores' time that the baseline may lose to others

Expect = Callable[[list[tuple[Any, ...]]], list[Any]]


class Failed(Exception):
    """The function raised an exception; `said` is the worker's description of it."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(str(said.get("message")))
        self.said = said


class Rejected(Exception):
    """A result was not right."""

    def __init__(self, problem: Problem, call: tuple[Any, ...], expected: Any) -> None:
        super().__init__(problem.message)
        self.problem, self.call, self.expected = problem, call, expected


@dataclass
class Series:
    """Calls of one loaded function, all of one size."""

    worker: Worker
    exercise: Exercise
    name: str
    size: Size
    rng: np.random.Generator
    expect: Expect
    view: bool = False

    def __post_init__(self) -> None:
        self.calls = 1
        self.overhead = 0.0
        self.preparing = 0.0                # seconds that the last block's inputs took to get onto the device
        self.waiting = 0.0                  # share of its cores' time in the last block that it wanted and others had
        self._specs: list[list[dict[str, Any]]] | None = None
        self._after = 0

    def fresh(self, calls: int) -> list[tuple[Any, ...]]:
        return [self.exercise.sample(self.rng, self.size) for _ in range(calls)]

    def prepare(self, specs: list[list[dict[str, Any]]]) -> None:
        if specs != self._specs:
            self.worker.ask({"prepare": {"calls": specs}}, 60)
            self._specs = specs

    def run(self, inputs: list[tuple[Any, ...]]) -> tuple[float, list[Any]]:
        """One block on given inputs. Returns seconds (processor or wall, overhead included) and the outputs' descriptions.

        The worker is frozen before and after; `release` lets it forget the outputs. Processor time counts from before the inputs
        can be seen; by the clock on the wall, what passes between that and the start is added.
        """
        specs, size = arrays.layout(inputs)
        worker = self.worker
        if size > worker.arena.size:
            raise MemoryError("the inputs do not fit into the arena")
        if self.exercise.timing == "gpu":                   # inputs are on the device before the clock; how long that takes is kept
            arrays.write(worker.arena, specs, inputs)
            self._specs = None
            wall = time.perf_counter_ns()
            self.prepare(specs)
            self.preparing = (time.perf_counter_ns() - wall) / 1e9
            before = worker.cpu_ns()
        else:
            self.prepare(specs)
            before = worker.cpu_ns()
            arrays.write(worker.arena, specs, inputs)
        early = self._booked(before)
        waited, ran = worker.waited_ns(), worker.cpu_ns()
        wall = time.perf_counter_ns()
        answer = worker.ask({"go": True}, self.exercise.seconds * max(1, len(inputs)))
        wall = time.perf_counter_ns() - wall
        self._after = worker.cpu_ns()
        self.waiting = worker.lost_ns(waited, ran, wall) / (worker.cores * wall)
        if "failed" in answer:
            if not isinstance(answer["failed"], dict):
                raise Tampered("a malformed failure")
            raise Failed(answer["failed"])
        done = answer.get("done")
        if not isinstance(done, list) or len(done) != len(inputs):
            raise Tampered("not one output for each call")
        return (self._after - before if self.exercise.timing == "cpu" else wall + early) / 1e9, done

    def _booked(self, since: int) -> int:
        """Processor time in ns that was booked on the frozen worker since its clock showed `since`. It is always counted, so an
        honest answer is not accused for the kernel's late bookings, and nobody gains. More than those can be is work."""
        late = self.worker.cpu_ns() - since
        if late > LATE_NS:
            raise Tampered("it went on while it was frozen")
        return late

    def verify(self, inputs: list[tuple[Any, ...]], done: list[Any]) -> list[Any]:
        """Compare every output of a block; raises Rejected at the first that is wrong. Returns the values."""
        specs, _ = arrays.layout(inputs)
        values = []
        for call, row, said, expected in zip(inputs, specs, done, self.expect(inputs), strict=True):
            own = [(spec["offset"], a) for spec, a in zip(row, call, strict=True) if isinstance(a, np.ndarray)]
            for offset, a in own:
                if not np.array_equal(self.worker.arena[offset: offset + a.nbytes], np.ascontiguousarray(a).reshape(-1).view(np.uint8)):
                    raise Rejected(Problem(f"`{self.name}` changes its argument; leave the inputs as they are."), call, expected)
            value, problem = compare.accept(said, expected, dict(self.exercise.tolerance),
                                            Memory(self.worker.base, own, self.worker.read), self.view, self.name)
            if problem and (also := self._also_right(call, value, expected)) is not True:
                raise Rejected(replace(problem, message=also) if isinstance(also, str) else problem, call, expected)
            values.append(value)
        return values

    def _also_right(self, call: tuple[Any, ...], value: Any, expected: Any) -> bool | str:
        """Whether the exercise accepts a result that differs from the oracle's, or the sentence that says why not."""
        accepts = self.exercise.accepts
        if accepts is None or self.view or not compare.alike(value, expected):
            return False
        found = accepts(Case(call, value, expected, self.size))
        return found if isinstance(found, str) else bool(found)

    def release(self) -> None:
        self.worker.ask({"release": True}, 60)

    def checked(self, inputs: list[tuple[Any, ...]]) -> tuple[float, list[Any]]:
        """One block, verified: seconds and values."""
        seconds, done = self.run(inputs)
        try:
            values = self.verify(inputs, done)
            seconds += self._booked(self._after) / 1e9
        finally:
            self.release()
        return seconds, values

    def block(self) -> float:
        """One timed block with fresh inputs, every output verified: seconds a call, the referee's overhead taken off."""
        seconds = self.checked(self.fresh(self.calls))[0]
        return max(seconds - self.overhead, seconds / 2) / self.calls

    def empty_block(self) -> float:
        """Seconds that a block without calls costs. Only ever measured on trusted workers."""
        return float(np.median([self.checked([])[0] for _ in range(7)]))

    def warm_up(self, overhead: float) -> None:
        """Run until blocks have a good length. Looks the same as timing."""
        self.overhead = overhead
        self.block()
        began = time.monotonic()
        while self.exercise.timing == "gpu" and time.monotonic() - began < CLOCK_RISES:
            self.block()
        once = min(self.block() for _ in range(2))
        each = sum(a.nbytes for a in self.fresh(1)[0] if isinstance(a, np.ndarray)) + 1
        long = BLOCK if self.exercise.timing == "cpu" else WALL_BLOCK
        self.calls = max(1, min(MOST_CALLS, math.ceil(long / once), self.worker.arena.size // (2 * each)))
        self.block()


class Baseline(Series):
    """A series of trusted source: where it fails, it is the referee's own failure and never the student's."""

    def checked(self, inputs: list[tuple[Any, ...]]) -> tuple[float, list[Any]]:
        try:
            return super().checked(inputs)
        except (Failed, Rejected, TimedOut, Died, Stubborn, ProtocolError, Tampered) as e:
            said = self.worker.printed()[-300:]
            self.worker.close()
            raise OracleError(f"the baseline {self.name} failed: {e or type(e).__name__}. {said}") from None


def pairs(student: Series, baseline: Series, target: Target, kind: str, rng: np.random.Generator,
          budget: float = BUDGET, clock: Callable[[], float] = time.monotonic) -> tuple[Measured, bool]:
    """Interleave blocks until the answer is clear or the budget ends. Returns what was measured, and whether it is too noisy.

    By the clock on the wall it is also too noisy where the baseline had to wait for a core: then others were computing. The baseline
    alone is asked, since a student's own threads may well wait for each other, and cannot make it wait: they are frozen meanwhile.
    """
    samples: list[tuple[float, float]] = []
    logs: list[float] = []
    waiting: list[float] = []
    wall = student.exercise.timing != "cpu"
    budget = budget if kind != "efficiency" else max(budget, BUDGET_RANKS)
    disturbed = False
    began = clock()
    while True:
        if rng.integers(2):
            s = student.block()
            b = baseline.block()
        else:
            b = baseline.block()
            s = student.block()
        if student.exercise.timing == "gpu":                # getting ready is the same for both: what takes longer is work
            s += max(0.0, student.preparing - baseline.preparing) / student.calls
        samples.append((s, b))
        logs.append(math.log(b / s))
        if wall:
            waiting.append(baseline.waiting)
            disturbed = math.fsum(waiting) / len(waiting) > (QUIET_RANKS if kind == "efficiency" else QUIET)
        found = measure.interval(logs)
        spent = clock() - began
        enough = len(logs) >= ENOUGH_PAIRS or (len(logs) >= LEAST_PAIRS and spent > ENOUGH_SECONDS)
        if enough and (disturbed or measure.decided(found, target.start, target.full)):
            break
        if len(logs) >= MOST_PAIRS or (spent > budget and len(logs) >= LEAST_PAIRS):
            break
    noisy = disturbed or measure.too_noisy(found, target.start, target.full)
    measured = Measured(target=kind, versus=target.versus, start=target.start, full=target.full, ratio=found.ratio,
                        low=found.low, high=min(found.high, 1e12), credit=measure.credit(found.low, target.start, target.full),
                        samples=samples, clock=student.exercise.timing)
    return measured, noisy


def control(block: Callable[[], float], count: int = CONTROL_PAIRS) -> Sequence[float]:
    """A/A: log-ratios of the same work against itself. Their mean is zero on a machine that can be trusted."""
    return [math.log(block() / block()) for _ in range(count)]
