"""A world of simulated ranks: workers in jails of their own, whose only network is the referee.

A message is a frame to the referee, which is the switch: it runs one rank until that rank waits for another, freezes it, and goes on
with the lowest rank that can. So a run is the same every time, a deadlock is seen at once, and no counter is kept where a rank could
reach it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpml.distributed.network import Link, Switch, Topology, switch
from hpml.exercise import Exercise, Size
from hpml.referee import protocol
from hpml.referee.compare import Tampered
from hpml.referee.jail import Died
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.workers import Worker
from hpml.referee.worlds import World

MESSAGE = 64 << 20                  # bytes of one message
HELD = 512 << 20                    # bytes of all messages of one call, received or not
EVENTS = 200_000                    # sends, receives and barriers of one call


class Stuck(Exception):
    """The ranks wait for each other for ever, or talk without end; the message is a sentence that says which."""


def default_network(size: Size) -> Topology:
    return switch(size["ranks"], Link(5e-6, 1e-9))


class Simulated(World):
    """Ranks whose only network is the referee."""

    def __init__(self, workers: Sequence[Worker], loaded: int = 0) -> None:
        """`loaded`: so many of them, the first ones, have run the cells already, in a smaller or larger world."""
        super().__init__(workers)
        self.loaded = loaded

    def load(self, cells: list[tuple[str, str]], function: str, seconds: float) -> None:
        for rank in range(self.loaded, self.size):
            self.ask(rank, {"load": {"cells": cells, "function": function}}, "loaded", seconds + 2)

    def call(self, exercise: Exercise, size: Size, inputs: tuple[Any, ...]) -> list[Any]:
        began = time.monotonic()
        deadline = began + exercise.seconds
        self.prepare(inputs, lambda rank: [{"comm": [rank, self.size]}])
        run = _Run(self.workers, (exercise.network or default_network)(size), deadline)
        try:
            return run.all()
        finally:
            self.counters, self.seconds = run.switch.network.counters(), time.monotonic() - began
            lost = run.switch.unread()
            self.unread = (f"{len(lost)} message{'s were' if len(lost) > 1 else ' was'} sent that no rank received; the first from rank "
                           f"{lost[0].source} to rank {lost[0].dest}.") if lost else ""


class _Run:
    """One call on simulated ranks."""

    def __init__(self, workers: list[Worker], topology: Topology, deadline: float) -> None:
        self.workers, self.deadline = workers, deadline
        self.switch = Switch(topology)
        self.outputs: list[Any] = [None] * len(workers)
        self.answers: dict[int, tuple[dict[str, Any], bytes]] = {rank: ({"go": True}, b"") for rank in range(len(workers))}
        self.waiting: dict[int, tuple[int, int] | None] = {}
        self.events = self.held = 0

    def all(self) -> list[Any]:
        """Run one rank at a time until all are done. Raises OnRank, Stuck."""
        while self.answers or self.waiting:
            if not self.answers and not self._wake():
                raise Stuck(self.switch.deadlock(self.waiting) or "Deadlock: the ranks wait for each other.")
            rank = min(self.answers)
            header, body = self.answers.pop(rank)
            with World.blaming(rank):
                self._run(rank, header, body)
        return self.outputs

    def _wake(self) -> bool:
        """Give the lowest rank that can go on what it waits for; or all of them, if all are at the barrier."""
        if len(self.waiting) == len(self.workers) and all(what is None for what in self.waiting.values()):
            self.switch.network.barrier()
            self.answers = {rank: ({"passed": True}, b"") for rank in self.waiting}
            self.waiting.clear()
            return True
        for rank, what in sorted(self.waiting.items()):
            if what is not None and self.switch.ready(rank, *what):
                del self.waiting[rank]
                self.answers[rank] = self._taken(rank, *what)
                return True
        return False

    def _run(self, rank: int, header: dict[str, Any], body: bytes) -> None:
        """Answer a rank and let it go on until it waits or is done; then freeze it."""
        worker = self.workers[rank]
        deadline = min(self.deadline, worker.ends)
        try:
            worker.thaw()
            while True:
                self._send(worker, header, body, deadline)
                header, sent = protocol.receive(worker.sock, max(0.0, deadline - time.monotonic()), MESSAGE)
                self.events += 1
                if self.events > EVENTS:
                    raise Stuck(f"The ranks exchange more than {EVENTS} messages in one call.")
                if "send" in header:
                    dest, tag = self._pair(header["send"])
                    if self.held + len(sent) > HELD:
                        raise Stuck(f"The messages of one call hold more than {HELD >> 20} MB.")
                    self.held += len(sent)
                    self.switch.send(rank, dest, tag, (self._dtype(header.get("dtype"), len(sent)), bytes(sent)), len(sent))
                    header, body = {"sent": True}, b""
                elif sent:
                    raise ProtocolError("an answer with a body")
                elif "receive" in header:
                    source, tag = self._pair(header["receive"])
                    if not self.switch.ready(rank, source, tag):
                        self.waiting[rank] = source, tag
                        return
                    header, body = self._taken(rank, source, tag)
                elif "barrier" in header:
                    self.waiting[rank] = None
                    return
                else:
                    self.outputs[rank] = World.output(World.expected(header, "done"))
                    return
        except protocol.Closed:
            raise Died(worker.epitaph()) from None
        finally:
            worker.freeze()

    def _pair(self, said: Any) -> tuple[int, int]:
        """A rank and a tag, as a frame names them."""
        if not (isinstance(said, list) and len(said) == 2 and all(type(v) is int for v in said)
                and 0 <= said[0] < len(self.workers) and 0 <= said[1] < 1 << 31):
            raise Tampered("a message to or from nowhere")
        return said[0], said[1]

    def _taken(self, rank: int, source: int, tag: int) -> tuple[dict[str, Any], bytes]:
        """The frame that hands a rank its message."""
        dtype, payload = self.switch.take(rank, source, tag)
        return {"received": True, "dtype": dtype}, payload

    @staticmethod
    def _dtype(said: Any, size: int) -> str:
        """The type of a message's numbers, spelled in one way only, so that nothing can be said with it."""
        try:
            dtype = np.dtype(said) if isinstance(said, str) and len(said) < 8 else None
        except (TypeError, ValueError):
            dtype = None
        if dtype is None or dtype.kind not in "biufc" or size % dtype.itemsize:
            raise Tampered("a message of no numeric type")
        return dtype.str

    @staticmethod
    def _send(worker: Worker, header: dict[str, Any], body: bytes, deadline: float) -> None:
        """Bounded in time, for a rank that does not listen."""
        worker.sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            protocol.send(worker.sock, header, body)
        except TimeoutError:
            raise TimedOut from None
        finally:
            worker.sock.settimeout(None)
