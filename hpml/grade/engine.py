"""`map(jobs)`: here by default, with no configuration; elsewhere through Dask (hpml.grade.cluster).

On a node, jobs run side by side, one a core, each with a warm referee of its own that pins its workers to its core; a job that
measures waits until the others are done, and runs alone. The node is shared with whoever else grades on it: the gate between the
two kinds of jobs is a lock that every process of this user on this machine respects, and that ends with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import IO, Any, Protocol

import psutil

from hpml import course
from hpml.check import cache
from hpml.course import CourseError
from hpml.grade.jobs import Engine, Fault, Job, Judge, Outputs, Result
from hpml.referee.client import Purpose, Referee, RefereeError
from hpml.verdict import Verdict

BATCH = 4                       # measured jobs that are let together, for each worker: each change of kind leaves cores idle
MEMORY = 3 << 30                # bytes that a warm referee with a framework may need
LOOK_SECONDS = 0.05             # between two looks at a gate that is closed


class Judging(Protocol):
    """What an engine needs of a referee. `lane` of the maker numbers those that work side by side."""

    def judge(self, lab: str, cells: dict[str, str], exercises: Iterable[str] | None = None, seed: int | None = None) -> list[Verdict]: ...
    def warm(self, lab: str) -> None: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


Maker = Callable[[int], Judging]                    # lane → a referee


def referee(lane: int, purpose: Purpose = "grade") -> Referee:
    return Referee(purpose, lane=lane)


def default_workers() -> int:
    """One a core, as far as the memory goes."""
    return max(1, min(len(os.sched_getaffinity(0)), psutil.virtual_memory().total // MEMORY))


@contextlib.contextmanager
def gate(alone: bool, stop: threading.Event) -> Iterator[None]:
    """Into this node: many at a time, or one alone. Who wants to be alone is not overtaken for ever: all wait in one line.

    Raises Fault where `stop` is set before it is our turn.
    """
    folder = cache() / "gate"             # may lie on a shared disk, hence the name of the machine
    folder.mkdir(parents=True, exist_ok=True)
    here = folder / socket.gethostname()
    with open(f"{here}.room", "w") as room:
        with open(f"{here}.line", "w") as line:
            _lock(line, fcntl.LOCK_EX, stop)
            _lock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, stop)
        yield


def _lock(file: IO[str], how: int, stop: threading.Event) -> None:
    while True:
        try:
            return fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if stop.wait(LOOK_SECONDS):
                raise Fault("Grading was stopped.") from None


class Runners:
    """What runs whole notebooks, warm, one a lab."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self.lock = threading.Lock()

    def run(self, job: Job) -> Outputs:
        from hpml.grade import execute
        with self.lock:
            if job.lab not in self.made:
                self.made[job.lab] = execute.Runner(course.load().lab(job.lab))
        return self.made[job.lab].run(job.notebook or "")

    def close(self) -> None:
        for found in self.made.values():
            found.close()
        self.made.clear()


class Node:
    """The referees of this process, warm from job to job. The first one does all that is measured."""

    def __init__(self, workers: int, make: Maker = referee) -> None:
        self.workers, self.make, self.stop = workers, make, threading.Event()
        self.referees: dict[int, Judging] = {}
        self.runners = Runners()
        self.free: queue.PriorityQueue[int] = queue.PriorityQueue()
        for lane in range(workers):
            self.free.put(lane)

    def do(self, job: Job) -> list[Verdict] | Outputs:
        """Run one job. Raises Fault."""
        try:
            with gate(job.alone, self.stop), self._lane() as lane:
                if self.stop.is_set():
                    raise Fault("Grading was stopped.")
                if job.notebook is not None:
                    return self.runners.run(job)
                if lane not in self.referees:
                    self.referees[lane] = self.make(lane)
                return self.referees[lane].judge(job.lab, job.answers, job.exercises, job.seed)
        except (RefereeError, CourseError) as e:            # a referee that died is started again by its next job
            raise Fault(str(e)) from None
        except (OSError, ValueError) as e:                  # no room, no processes; or it died in the middle of a word
            raise Fault(f"{type(e).__name__}: {e}.") from None

    @contextlib.contextmanager
    def _lane(self) -> Iterator[int]:
        """The lowest that is free; where a job is alone, all are."""
        lane = self.free.get()
        try:
            yield lane
        except (OSError, ValueError):
            if lane in self.referees:
                self.referees.pop(lane).close()
            raise
        finally:
            self.free.put(lane)

    def interrupt(self) -> None:
        """End what is going on, soon; its jobs end in a Fault."""
        self.stop.set()
        for lane, found in list(self.referees.items()):
            if lane not in self.free.queue:
                found.interrupt()

    def close(self) -> None:
        for found in self.referees.values():
            found.close()
        self.referees.clear()
        self.runners.close()


class Serial:
    """One job after the other, with a judge that is there already."""

    workers, split, measuring = 1, False, False

    def __init__(self, judge: Judge) -> None:
        self.judge, self.runners = judge, Runners()

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        for job in jobs:
            try:
                yield job, self.judge(job.lab, job.answers, job.exercises) if job.notebook is None else self.runners.run(job)
            except (RefereeError, CourseError, Fault) as e:
                yield job, Fault(str(e))

    def close(self) -> None:
        self.runners.close()


class Local:
    """This machine: jobs side by side, and batches of measured jobs one by one."""

    split = True

    def __init__(self, workers: int | None = None, make: Maker = referee) -> None:
        self.workers = workers or default_workers()
        self.node = Node(self.workers, make)
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="engine")
        self.measuring = False

    def warm(self, lab: str, jobs: int) -> None:
        """Let as many referees as `jobs` can use get ready for a lab, without waiting for them. Raises RefereeError."""
        for lane in range(min(self.workers, jobs)):
            self.node.referees[lane] = self.node.make(lane)
            self.node.referees[lane].warm(lab)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        source = iter(jobs)
        shared: deque[Job] = deque()
        alone: deque[Job] = deque()
        running: dict[Future[Any], Job] = {}
        more = True
        while True:
            while more and len(running) + len(shared) < 2 * self.workers and len(alone) < BATCH * self.workers:
                if (job := next(source, None)) is None:
                    more = False
                else:
                    (alone if job.alone else shared).append(job)
            full = len(alone) >= BATCH * self.workers
            while shared and not full and len(running) < self.workers:
                job = shared.popleft()
                running[self.pool.submit(self.node.do, job)] = job
            if running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), _result(future)
            elif alone:
                while alone:
                    self.measuring = True
                    job = alone.popleft()
                    result = _result(self.pool.submit(self.node.do, job))
                    self.measuring = bool(alone)
                    yield job, result
            elif not more and not shared:
                return

    def close(self) -> None:
        """End all work, also what is in the middle of something."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.node.interrupt()
        self.pool.shutdown()
        self.node.close()


def _result(future: Future[Any]) -> Result:
    try:
        found: list[Verdict] | Outputs = future.result()
        return found
    except Fault as e:
        return e


def start(where: str = "local", workers: int | None = None, unjailed: bool = False) -> Engine:
    """The engine that `--engine` names: local, slurm, or the address of a Dask scheduler. Raises CourseError."""
    if where == "local":
        return Local(workers)
    from hpml.grade import cluster
    if where == "slurm":
        return cluster.slurm(workers, unjailed)
    if "://" in where:
        return cluster.scheduler(where, unjailed)
    raise CourseError(f"there is no engine {where!r}: say local, slurm, or the address of a Dask scheduler, such as tcp://head:8786")


