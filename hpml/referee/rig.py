"""What `hpml bench referee` measures with: functions of known work, busy neighbours, and measured noise that is played back."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from hpml import measure
from hpml.course import Target
from hpml.exercise import Exercise, Size
from hpml.referee import jail, timing
from hpml.referee.resources import CONTROL_TRIES
from hpml.referee.timing import CONTROL_PAIRS, Series
from hpml.referee.workers import Worker
from hpml.verdict import Measured

TARGET = Target(versus="twice", start=1, full=2)        # the target of the made-up exercise: twice as fast as the baseline
BOOTSTRAP_LENGTH = 8.0                                  # mean length, in pairs, of a stretch of noise that is played back in one piece

MIXED = """
def mixed(x, rounds):
    y = x
    for _ in range(rounds):
        t = 0
        for i in range(8):
            t += i
        y = x + x
    return y
"""
PRODUCT = """
def product(a, b, rounds):
    for _ in range(rounds):
        y = a @ b
    return y
"""
SPIN = """
import os, sys
import numpy as np
a = np.ones((400, 400), np.float32)
print("busy", flush=True)
while os.getppid() == int(sys.argv[1]):
    sum(range(20000))
    a @ a
"""


@dataclass(frozen=True)
class Kernel:
    """A function whose last argument is how often it does the same work: the ratio of two calls is known from their rounds."""

    name: str
    source: str
    rounds: int                 # of the baseline
    exercise: Exercise

    def student(self, share: float) -> int:
        """Rounds of a submission at `share` of the target."""
        return round(self.rounds / (share * TARGET.full))


def _vector(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return rng.random(1024, np.float32), size["rounds"]


def _matrices(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Any matrix, and one that only moves its columns about: the oracle needs no product, whose idle threads would go on spinning."""
    return rng.random((384, 384), np.float32), np.eye(384, dtype=np.float32)[rng.permutation(384)], size["rounds"]


KERNELS = {         # 3960 = 5·8·9·11 makes whole rounds of all shares of the target; 88 = 8·11 of most, and no rounding crosses 0.9 or 1.1
    "cpu": Kernel("mixed", MIXED, 3960, Exercise(_vector, lambda x, rounds: x + x, ())),
    "wall": Kernel("product", PRODUCT, 88, Exercise(_matrices, lambda a, b, rounds: a[:, b.argmax(0)], (), timing="wall", seconds=60)),
}


@contextmanager
def neighbours(count: int) -> Iterator[list[int]]:
    """`count` processes that compute on any core. They end with the block, and by themselves should this process be killed."""
    environment = dict(os.environ) | jail.threads_environment(1)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            started.append(subprocess.Popen([sys.executable, "-c", SPIN, str(os.getpid())], stdin=subprocess.DEVNULL, env=environment,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        for process in started:
            assert process.stdout
            if process.stdout.readline() != b"busy\n":
                raise RuntimeError("a busy neighbour did not start")
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
            assert process.stdout
            process.stdout.close()


@dataclass(frozen=True)
class Noise:
    """Pairs of one fresh worker: error of each log-ratio, and how long the pair took on the clock on the wall."""

    errors: tuple[float, ...]
    seconds: tuple[float, ...]


def better(once: Callable[[], tuple[Measured, bool]]) -> tuple[Measured, bool]:
    """A measurement; where it was close to more credit, the better of two, as in `judge.py`."""
    found, noisy = once()
    if noisy or not measure.close(measure.Interval(found.ratio, found.low, found.high, len(found.samples)), found.start, found.full):
        return found, noisy
    again, noisy_again = once()
    return (again, noisy_again) if (not noisy_again, again.credit) > (not noisy, found.credit) else (found, noisy)


class Rig:
    """A baseline worker, and a fresh worker for every submission, just as the referee has them."""

    def __init__(self, backend: str, clock: str, seed: Sequence[int]) -> None:
        self.backend, self.kernel = backend, KERNELS[clock]
        self.rng = np.random.default_rng(list(seed))
        self.baseline = self.series(self.kernel.rounds)
        try:
            self.overhead = self.baseline.empty_block()
            self.baseline.warm_up(self.overhead)
        except BaseException:
            self.close()
            raise

    def worker(self) -> Worker:
        every = sorted(os.sched_getaffinity(0))
        cores = (every[-1],) if self.kernel.exercise.timing == "cpu" else tuple(every)
        worker = Worker(self.backend, threads=len(cores), cores=cores)
        try:
            worker.wait_ready()
            worker.ask({"load": {"cells": [[self.kernel.name, self.kernel.source]], "function": self.kernel.name}}, 60)
        except BaseException:
            worker.close()
            raise
        return worker

    def series(self, rounds: int) -> Series:
        exercise = self.kernel.exercise
        return Series(self.worker(), exercise, self.kernel.name, {"rounds": rounds}, self.rng,
                      lambda calls: [exercise.oracle(*call) for call in calls])

    @contextmanager
    def submission(self, share: float) -> Iterator[Series]:
        """A warm, fresh worker at `share` of the target."""
        series = self.series(self.kernel.student(share))
        try:
            series.warm_up(self.overhead)
            yield series
        finally:
            series.worker.close()

    def trial(self, share: float) -> tuple[Measured, bool]:
        """One submission, measured as the referee does it."""
        def once() -> tuple[Measured, bool]:
            with self.submission(share) as student:
                return timing.pairs(student, self.baseline, TARGET, "speedup", self.rng)
        return better(once)

    def record(self, share: float, pairs: int) -> Noise:
        """A fixed number of pairs of one fresh worker, against the ratio that is known from the rounds."""
        truth = math.log(self.kernel.rounds / self.kernel.student(share))
        errors, seconds = [], []
        with self.submission(share) as student:
            for _ in range(pairs):
                began = time.monotonic()
                took = {which: (student, self.baseline)[which].block() for which in self.rng.permutation(2)}
                seconds.append(time.monotonic() - began)
                errors.append(math.log(took[1] / took[0]) - truth)
        return Noise(tuple(errors), tuple(seconds))

    def close(self) -> None:
        self.baseline.worker.close()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Tape:
    """Measured noise played back as two series and a clock: the stationary bootstrap of Politis & Romano (1994).

    One tape is one submission: it keeps to the noise of one worker, whose own bias it so inherits, in stretches of consecutive
    pairs, so that slow drifts stay. `louder` multiplies every error.
    """

    def __init__(self, noise: Sequence[Noise], ratio: float, rng: np.random.Generator, louder: float = 1.0) -> None:
        self.noise, self.ratio, self.rng, self.louder = noise[rng.integers(len(noise))], ratio, rng, louder
        self.now, self.at = 0.0, int(rng.integers(len(self.noise.errors)))
        self.pair: dict[str, float] = {}

    def take(self, which: str) -> float:
        if not self.pair:
            length = len(self.noise.errors)
            self.at = int(self.rng.integers(length)) if self.rng.random() < 1 / BOOTSTRAP_LENGTH else (self.at + 1) % length
            self.now += self.noise.seconds[self.at]
            self.pair = {"student": 1.0, "baseline": self.ratio * math.exp(self.louder * self.noise.errors[self.at])}
        return self.pair.pop(which)

    def series(self, which: str) -> Series:
        return cast(Series, SimpleNamespace(block=partial(self.take, which), exercise=SimpleNamespace(timing="cpu")))


def simulate(noise: Sequence[Noise], share: float, rng: np.random.Generator, louder: float = 1.0) -> tuple[Measured, bool]:
    """One submission at `share` of the target, with played-back noise; too noisy where the A/A control fails on that noise, too."""
    def once() -> tuple[Measured, bool]:
        tape = Tape(noise, share * TARGET.full, rng, louder)
        return timing.pairs(tape.series("student"), tape.series("baseline"), TARGET, "speedup", rng, clock=lambda: tape.now)

    def control() -> bool:
        tape = Tape(noise, 1.0, rng, louder)
        return measure.steady([math.log(tape.take("baseline") / tape.take("student")) for _ in range(CONTROL_PAIRS)])

    found, noisy = better(once)
    return found, noisy or not any(control() for _ in range(CONTROL_TRIES))


def instructions(rounds: int, calls: int) -> int:
    """Instructions of a process that calls `mixed`, as counted by valgrind's callgrind."""
    script = f"import numpy as np\n{MIXED}\nx = np.ones(1024, np.float32)\nfor _ in range({calls}):\n    mixed(x, {rounds})\n"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, "-s", "-c", script],
                              env=dict(os.environ) | jail.threads_environment(1),        # its PYTHONHASHSEED repeats the imports, too
                              capture_output=True, text=True, timeout=600)
        found = [row.split() for row in out.read_text().splitlines() if row.startswith(("totals:", "summary:"))] if out.is_file() else []
    if done.returncode or not found:
        raise RuntimeError(f"callgrind could not count: {done.stderr.strip()[-300:]}")
    return int(found[0][1])


def counted_ratio(rounds: int) -> float | None:
    """Instructions of a call with `rounds` rounds over those of one with half as many; None where there is no valgrind."""
    if shutil.which("valgrind") is None:
        return None
    nothing, half, full = (instructions(n, calls) for n, calls in ((0, 0), (rounds // 2, 20), (rounds, 20)))
    return (full - nothing) / (half - nothing)
