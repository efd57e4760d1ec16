"""What the referee keeps for one lab between submissions: declarations, oracle, baseline workers, the A/A control."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpml import course, exercise, gpu, machine, measure, source
from hpml.exercise import Exercise
from hpml.gpu import Claim
from hpml.referee import crew, jail, timing
from hpml.referee.client import Purpose
from hpml.referee.jail import Died, WarmParent
from hpml.referee.oracle import Oracle, OracleError
from hpml.referee.others import Others
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.timing import Baseline, Series
from hpml.referee.workers import Stubborn, Worker
from hpml.verdict import Verdict

CONTROL_SECONDS = 600           # how long an A/A control of the machine holds,
CONTROL_LOAD = 0.5              # unless the cores that others keep busy change by more than this
CONTROL_TRIES = 3
STUDENT_MEMORY = 3 << 30        # bytes of address space for a student's worker
STUDENT_CPU_SECONDS = 600
STUDENT_SECONDS = 300.0         # wall time of one worker, however patient each single limit is
PEAK_N = 1024                   # size of the matrix product that stands for the machine's peak


@dataclass(frozen=True)
class Control:
    """An A/A control: when it was taken, the cores that others kept busy then, the ratio of the same work to itself."""

    when: float
    load: float
    found: measure.Interval
    steady: bool


class LabReferee:
    """Trusted side of one lab. Close it: it owns processes."""

    def __init__(self, name: str, purpose: Purpose = "desk") -> None:
        self.lab = course.load().lab(name)
        self.purpose = purpose
        self.declared = exercise.load(self.lab)
        self.source = source.read(self.lab)
        self.backend = jail.choose(course.load().jail)
        cores = sorted(os.sched_getaffinity(0), reverse=True)
        self.core = (cores[int(os.environ.get("HPML_LANE", 0)) % len(cores)],)
        self.card = machine.card()
        self.oracle = Oracle(self.lab.lab)
        self.baselines: dict[tuple[str, str], Series] = {}
        self.others = Others()
        self.kept: Control | None = None
        self.parents: dict[tuple[tuple[str, ...], tuple[str, ...], int, int | None], WarmParent] = {}
        self.claim: Claim | None = None
        self.gemm: Series | None = None
        self.measured: dict[tuple[str, ...], Verdict] = {}      # the last measured verdict on the same answers, for predictions
        self.references: dict[str, Verdict] = {}         # verdicts on the course's own answers
        self.pictures: dict[bytes, str | None] = {}      # the last drawn, by what is in them: right answers mostly look alike
        self.lab_hash = exercise.lab_hash(self.lab)
        for declared in self.declared.values():                 # frameworks are imported meanwhile
            if isinstance(declared, Exercise) and declared.world == "horovod":
                crew.parent(self, declared)
            elif isinstance(declared, Exercise) and not declared.world and declared.preload and declared.timing != "gpu":
                self.parent(declared.preload, threads=len(self._cores(declared.timing)), wait=False)

    def _cores(self, timing: str) -> tuple[int, ...]:
        """Where a worker runs that is timed by this clock."""
        return self.core if timing == "cpu" else tuple(sorted(os.sched_getaffinity(0)))

    def parent(self, preload: Sequence[str], hidden: Sequence[str] = (), threads: int = 1, number: int | None = None,
               wait: bool = True) -> WarmParent:
        """The warm parent with these imports, without these, started at first use. With `wait=False` it may not be ready yet."""
        key = (tuple(preload), tuple(hidden), threads, number)
        try:
            if key not in self.parents:
                self.parents[key] = WarmParent(self.backend, tuple(preload), threads, hidden=hidden, gpu=number, wait=False)
            if wait:
                self.parents[key].ready()
        except Died as e:
            self.parents.pop(key, None)
            raise OracleError(str(e)) from None
        return self.parents[key]

    def settle(self) -> None:
        """Until nothing of ours is starting up: before anything is measured. Raises OracleError where a parent could not import."""
        for preload, hidden, threads, number in list(self.parents):
            self.parent(preload, hidden, threads, number)

    def worker(self, trusted: bool = False, timing: str = "cpu", preload: Sequence[str] = (), hidden: Sequence[str] = (),
               quick: bool = False) -> Worker:
        """A fresh worker, ready. With `preload` it is forked from a parent that has imported these modules; else libraries that are
        `hidden` cannot be loaded in it. A `quick` one is always forked: not for measuring, where memory must be its own."""
        cores = self._cores(timing)
        tensors = timing == "gpu"
        number = self.gpu() if tensors else None
        parent = None
        if preload:
            parent = self.parent(preload, threads=len(cores), number=number)
        elif quick and not tensors:
            parent = self.parent(("numpy",), hidden, len(cores))
        try:
            worker = Worker(self.backend, threads=len(cores), cores=cores, memory=None if trusted or preload or tensors else STUDENT_MEMORY,
                            cpu_seconds=1 << 30 if trusted else STUDENT_CPU_SECONDS,
                            lifetime=math.inf if trusted else STUDENT_SECONDS, parent=parent, hidden=hidden,
                            tensors=tensors, gpu=number)
        except Died as e:
            raise OracleError(f"a worker did not start: {e}.") from None
        try:
            worker.wait_ready()
        except (Died, Stubborn, TimedOut, ProtocolError) as e:
            said = worker.printed()
            worker.close()
            raise OracleError(f"a worker did not start: {e}. {said[-300:]}") from None
        return worker

    def gpu(self) -> int | None:
        """The GPU that this referee holds from now on; None where there is none. One job per GPU: others wait for theirs."""
        if self.claim is None and gpu.present():
            try:
                self.claim = gpu.Claim()
            except gpu.NoGPU as e:
                raise OracleError(f"{e}.") from None
        return self.claim.number if self.claim else None

    def baseline(self, name: str, versus: str, rng: np.random.Generator) -> Series:
        """A warmed-up baseline; its worker is kept, since it runs trusted source only."""
        if (name, versus) not in self.baselines or self.baselines[name, versus].worker.closed:
            declared = self.declared[name]
            assert isinstance(declared, Exercise)
            worker = self.worker(trusted=True, timing=declared.timing, preload=declared.preload)
            try:
                answer = worker.ask({"load": {"cells": [[versus, "import numpy as np\n" + declared.baseline_source(versus)]],
                                              "function": declared.baselines[versus].__name__}}, 120)
                if "failed" in answer:
                    raise OracleError(f"baseline {versus}: {answer['failed']}")
                series: Series = Baseline(worker, declared, versus, self.lab.exercises[name].shape or {}, rng,
                                lambda calls: self.oracle.expect(name, calls))
                series.warm_up(series.empty_block())
            except (Died, Stubborn, TimedOut, ProtocolError) as e:
                worker.close()
                raise OracleError(f"baseline {versus} of {name}: {e or type(e).__name__} {worker.printed()[-300:]}") from None
            self.baselines[name, versus] = series
        series = self.baselines[name, versus]
        series.rng = rng
        return series

    def gemm_peak(self) -> float:
        """GFLOP/s of a large float32 product in a worker like the student's, by the same clock, at this very moment."""
        gemm = self._product()
        inputs = gemm.fresh(1)
        seconds = []
        for _ in range(6):
            seconds.append(gemm.run(inputs)[0])
            gemm.release()
        return 2e-9 * PEAK_N**3 / min(seconds)

    def overhead(self) -> float:
        """Seconds of an empty block, in a trusted worker that is otherwise like the student's."""
        return self._product().empty_block()

    def _product(self) -> Series:
        if self.gemm is None:
            worker = self.worker(trusted=True)
            worker.ask({"load": {"cells": [["gemm", "def gemm(a, b): return a @ b"]], "function": "gemm"}}, 60)
            square = Exercise(sample=lambda rng, size: tuple(rng.random((2, size["n"], size["n"]), np.float32)), oracle=np.matmul, sizes=())
            self.gemm = Series(worker, square, "gemm", {"n": PEAK_N}, np.random.default_rng(0), lambda calls: [])
        return self.gemm

    def control(self) -> Control:
        """A/A control of the machine: measured again when it is old, when others came or went, and a few times where it fails."""
        load = self.others.load()
        for _ in range(CONTROL_TRIES):
            kept = self.kept
            if kept and kept.steady and time.monotonic() - kept.when < CONTROL_SECONDS and abs(load - kept.load) <= CONTROL_LOAD:
                break
            gemm = self._product()
            inputs = gemm.fresh(1)

            def block(gemm: Series = gemm, inputs: list[tuple[Any, ...]] = inputs) -> float:
                seconds, _ = gemm.run(inputs)
                gemm.release()
                return seconds

            block()
            logs = timing.control(block)
            self.kept = Control(time.monotonic(), load, measure.interval(logs), measure.steady(logs))
        assert self.kept
        return self.kept

    def close(self) -> None:
        for series in (*self.baselines.values(), *([self.gemm] if self.gemm else [])):
            series.worker.close()
        for parent in self.parents.values():
            parent.close()
        if self.claim:
            self.claim.close()
            self.claim = None
        self.gemm = None
        self.parents.clear()
        self.baselines.clear()
        self.oracle.close()
