"""Worlds of several ranks: their processes, and one call on all of them. The referee's side; nothing that a rank says is believed.

Here is what all worlds share, and that of Horovod's ranks; simulated.py has the other.

Horovod's ranks are workers that share nothing but a loopback; a keeper among the trusted processes made it and holds the point
where they meet. All are frozen unless asked, are started together, and are frozen again when all have answered.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpml.exercise import Exercise, Size, on_rank
from hpml.referee import arrays, protocol
from hpml.referee.compare import Tampered
from hpml.referee.jail import Died, Keeper
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.timing import Failed
from hpml.referee.workers import Stubborn, Worker

GRACE = 0.5                         # seconds in which the cause of a failure may show behind its consequence
JOIN_SECONDS = 60.0
# Ranks stand frozen for long; and what Horovod says of one that is gone, the referee says better.
SETTINGS = {"HOROVOD_STALL_CHECK_DISABLE": "1", "HOROVOD_GLOO_TIMEOUT_SECONDS": "3600", "HOROVOD_LOG_LEVEL": "fatal"}


class OnRank(Exception):
    """Something went wrong on one rank: it failed, died, fell silent or babbled; `error` says what."""

    def __init__(self, rank: int, error: Exception) -> None:
        super().__init__(str(error))
        self.rank, self.error = rank, error


class Unfinished(Exception):
    """Some ranks were not done in time."""

    def __init__(self, ranks: list[int], size: int) -> None:
        super().__init__("not done in time")
        self.ranks, self.size = ranks, size


FAULTS = (TimedOut, Died, Stubborn, ProtocolError, Tampered, MemoryError, OSError)


class World:
    """Ranks 0 … N - 1, each a worker. `counters` are those of the last call, `seconds` its time by the clock on the wall."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = list(workers)
        self.counters: dict[str, float] = {}
        self.seconds = 0.0
        self.unread = ""                        # a sentence about messages of the last call that nobody received
        self.waiting = 0.0                      # share of the last call in which others had the ranks' cores

    @property
    def size(self) -> int:
        return len(self.workers)

    def load(self, cells: list[tuple[str, str]], function: str, seconds: float) -> None:
        """Run cells on every rank. Raises OnRank."""
        raise NotImplementedError

    def call(self, exercise: Exercise, size: Size, inputs: tuple[Any, ...]) -> list[Any]:
        """One call on all ranks: descriptions of what each returned, in its frozen memory. Raises OnRank, Stuck, Unfinished."""
        raise NotImplementedError

    def rows(self, inputs: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The arguments of each rank."""
        return [tuple(on_rank(a, rank) for a in inputs) for rank in range(self.size)]

    def prepare(self, inputs: tuple[Any, ...], first: Callable[[int], list[dict[str, Any]]] = lambda rank: []) -> None:
        """Fresh arguments into every arena, behind what `first` adds."""
        rows = self.rows(inputs)
        laid = [arrays.layout([row]) for row in rows]
        asked = [[[*first(rank), *specs[0]]] for rank, (specs, _) in enumerate(laid)]
        for rank, (worker, row, (specs, size)) in enumerate(zip(self.workers, rows, laid, strict=True)):
            if size > worker.arena.size:
                raise MemoryError("the inputs do not fit into the arena")
            if worker.prepared != asked[rank]:
                self.ask(rank, {"prepare": {"calls": asked[rank]}}, "prepared", 60)
                worker.prepared = asked[rank]
            arrays.write(worker.arena, specs, [row])

    def release(self) -> None:
        """Let every rank forget its outputs."""
        for rank in range(self.size):
            self.ask(rank, {"release": True}, "released", 60)

    def ask(self, rank: int, request: dict[str, Any], wanted: str, timeout: float) -> Any:
        """One rank's answer, which must be of the wanted kind. Raises OnRank."""
        with self.blaming(rank):
            return self.expected(self.workers[rank].ask(request, timeout), wanted)

    @staticmethod
    def expected(answer: dict[str, Any], wanted: str) -> Any:
        if "failed" in answer:
            if not isinstance(answer["failed"], dict):
                raise Tampered("a malformed failure")
            raise Failed(answer["failed"])
        if wanted not in answer:
            raise Tampered(f"an answer that is not {wanted!r}")
        return answer[wanted]

    @staticmethod
    def output(done: Any) -> Any:
        if not isinstance(done, list) or len(done) != 1:
            raise Tampered("not one output for the call")
        return done[0]

    @staticmethod
    @contextlib.contextmanager
    def blaming(rank: int) -> Any:
        """Name the rank in what goes wrong."""
        try:
            yield
        except (*FAULTS, Failed) as error:
            raise OnRank(rank, error) from None

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()

    @property
    def closed(self) -> bool:
        return any(worker.closed for worker in self.workers)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Together(World):
    """Horovod's ranks on a loopback of their own; or, `alone`, as many copies that cannot reach each other by Horovod's means."""

    def __init__(self, workers: Sequence[Worker], keeper: Keeper, alone: bool = False) -> None:
        super().__init__(workers)
        self.keeper = keeper
        self.countable = keeper.backend != "none"           # else others use the same loopback
        if alone:
            environments = [{"HPML_RANK": str(rank), "HPML_RANKS": str(self.size)} for rank in range(self.size)]
        else:
            environments = keeper.meet(self.size)
        self._bytes = 0
        self._took: dict[int, float] = {}                   # seconds to each rank's answer
        self.all([{"join": environment | SETTINGS} for environment in environments], "joined", JOIN_SECONDS)

    def load(self, cells: list[tuple[str, str]], function: str, seconds: float) -> None:
        self.all([{"load": {"cells": cells, "function": function}}] * self.size, "loaded", seconds + 2)
        self._bytes = self._loopback()

    def call(self, exercise: Exercise, size: Size, inputs: tuple[Any, ...]) -> list[Any]:
        self.prepare(inputs)
        before = [(worker.waited_ns(), worker.cpu_ns()) for worker in self.workers]
        done = self.all([{"go": True}] * self.size, "done", exercise.seconds)
        lost = sum(worker.lost_ns(*before[rank], int(1e9 * self._took[rank])) for rank, worker in enumerate(self.workers))
        self.waiting = lost / 1e9 / sum(self._took.values())
        outputs = []
        for rank, one in enumerate(done):
            with self.blaming(rank):
                outputs.append(self.output(one))
        crossed, self._bytes = self._bytes, self._loopback()
        self.counters = {"loopback_bytes": self._bytes - crossed} if self.countable else {}
        return outputs

    def _loopback(self) -> int:
        """Bytes that have crossed the ranks' loopback, as the kernel counts them. They stand frozen."""
        with self.blaming(0):
            for line in Path(f"/proc/{self.workers[0].pid}/net/dev").read_text().splitlines():
                name, _, numbers = line.partition(":")
                if name.strip() == "lo":
                    return int(numbers.split()[0])
        raise Died("its network is gone")

    def all(self, requests: list[dict[str, Any]], wanted: str, seconds: float) -> list[Any]:
        """Ask every rank, let all of them run until the last has answered, and freeze them. Raises OnRank, Unfinished."""
        answers: dict[int, Any] = {}
        faults: dict[int, Exception] = {}
        try:
            for rank, (worker, request) in enumerate(zip(self.workers, requests, strict=True)):
                with self.blaming(rank):
                    if len(str(request)) > 4096:            # a frozen rank does not read, and a socket holds only so much
                        worker.thaw()
                    protocol.send(worker.sock, request)
            began = time.monotonic()
            deadline = min(began + seconds, *(worker.ends for worker in self.workers))
            for worker in self.workers:
                worker.thaw()
            self._collect(answers, faults, wanted, began, deadline)
            self.seconds = time.monotonic() - began
        finally:
            for rank, worker in enumerate(self.workers):
                try:
                    worker.freeze()
                except Stubborn as error:
                    faults.setdefault(rank, error)
        if faults:
            rank = min(faults, key=lambda r: (_consequence(faults[r]), r))
            raise OnRank(rank, faults[rank])
        if missing := [rank for rank in range(self.size) if rank not in answers]:
            raise Unfinished(missing, self.size)
        return [answers[rank] for rank in range(self.size)]

    def _collect(self, answers: dict[int, Any], faults: dict[int, Exception], wanted: str, began: float, deadline: float) -> None:
        """Until all have answered, or one has failed and no better reason for it has shown within the grace."""
        sockets = {worker.sock.fileno(): rank for rank, worker in enumerate(self.workers)}
        while sockets:
            left = deadline - time.monotonic()
            readable = select.select(list(sockets), [], [], max(0.0, left))[0] if left > 0 else []
            if not readable:
                return
            for fd in readable:
                rank = sockets.pop(fd)
                self._took[rank] = time.monotonic() - began
                try:
                    answers[rank] = self.expected(protocol.receive(self.workers[rank].sock, max(0.0, left))[0], wanted)
                except protocol.Closed:
                    faults[rank] = Died(self.workers[rank].epitaph())
                except (*FAULTS, Failed) as error:
                    faults[rank] = error
            if faults:
                if any(not _consequence(error) for error in faults.values()):
                    return
                deadline = min(deadline, time.monotonic() + GRACE)

    def kill(self) -> None:
        super().kill()
        self.keeper.close()

    def close(self) -> None:
        super().close()
        self.keeper.close()


def _consequence(error: Exception) -> bool:
    """Whether a rank failed because another one is gone."""
    return isinstance(error, Failed) and ("Horovod" in f"{error.said.get('type')} {error.said.get('message')}")


def rank_cores(ranks: int) -> list[tuple[int, ...]]:
    """The core of each rank: one after the other."""
    cores = sorted(os.sched_getaffinity(0))
    return [(cores[rank % len(cores)],) for rank in range(ranks)]
