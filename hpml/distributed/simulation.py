"""Ranks on paper: one process, N logical ranks, every message counted, and an α–β clock instead of a real one.

    run = simulate(my_allreduce, [(x0,), (x1,), (x2,), (x3,)], ring(4, Link(5e-6, 1e-9)))
    run.results, run.counters()

The function is called once for each rank as function(comm, *arguments); `comm` is mpi4py's in small (comm.py), and the clock's rules are
network.py's. Exactly one rank runs at a time, until it must wait; so a run is the same every time, whatever the machine does meanwhile.
Sends are buffered: a function that sends a long message before it receives works here, but may hang on real MPI, which buffers
only short ones. Sendrecv works on both.
"""

from __future__ import annotations

import contextvars
import copy
import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpml.distributed.comm import Comm
from hpml.distributed.network import Message, Network, Switch, Topology


class Deadlock(RuntimeError):
    """No rank can go on; the message says who waits for whom."""

    def _render_traceback_(self) -> list[str]:                  # IPython: the sentence is all there is to say
        return [str(self)]


class RankError(RuntimeError):
    """A rank's function raised; `rank` is which, `__cause__` what it raised."""

    def __init__(self, rank: int, size: int, cause: BaseException) -> None:
        super().__init__(f"rank {rank} of {size}: {type(cause).__name__}: {cause}")
        self.rank = rank


class _Stop(BaseException):
    """Raised inside a rank that another one's end has made pointless."""


@dataclass(frozen=True, repr=False)
class Run:
    """What a simulated run gave: the function's result on each rank, and the network with what crossed it."""

    results: list[Any]
    network: Network
    unread: list[Message]                                       # sent, but received by nobody: often a mistake

    @property
    def messages(self) -> list[Message]:
        """Every message in the order in which they were sent, by the clock (source, dest, nbytes, sent, left, arrived, tag)."""
        return sorted(self.network.messages, key=lambda m: (m.sent, m.source))

    def counters(self) -> dict[str, float]:
        """See Network.counters()."""
        return self.network.counters()

    def __repr__(self) -> str:
        c = self.counters()
        return (f"<run on a {self.network.topology.name}: {c['messages']:.0f} messages in {c['steps']:.0f} steps, "
                f"at most {c['bytes_per_rank']:.0f} bytes sent by a rank, {c['seconds']:.3g} s>")


class _Rank(threading.Thread):
    """One rank on a thread that runs only while it holds the baton. It is its own transport."""

    def __init__(self, rank: int, world: _World, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        super().__init__(name=f"rank {rank}", daemon=True)
        self.rank, self.world, self.function, self.arguments = rank, world, function, arguments
        self.turn = threading.Semaphore(0)
        self.waiting: tuple[int, int] | None | bool = False     # what the network's deadlock() takes; False: for nothing
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = self.stopped = False
        self.context = contextvars.copy_context()               # so that print() in a notebook reaches the right cell

    def run(self) -> None:
        self.turn.acquire()
        try:
            if not self.stopped:
                self.result = self.context.run(self.function, Comm(self.rank, self.world.size, self), *self.arguments)
        except _Stop:
            pass
        except BaseException as error:                          # SystemExit too: it is told to whoever called simulate()
            self.error = error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
        self.ended = True
        self.world.back.release()

    def _pause(self, waiting: tuple[int, int] | None) -> None:
        if self.stopped:
            raise _Stop
        self.waiting = waiting
        self.world.back.release()
        self.turn.acquire()
        self.waiting = False
        if self.stopped:
            raise _Stop

    def send(self, dest: int, tag: int, payload: np.ndarray) -> None:
        if self.stopped:
            raise _Stop
        self.world.switch.send(self.rank, dest, tag, payload)

    def receive(self, source: int, tag: int) -> np.ndarray:
        if not self.world.switch.ready(self.rank, source, tag):
            self._pause((source, tag))
        payload: np.ndarray = self.world.switch.take(self.rank, source, tag)
        return payload

    def barrier(self) -> None:
        self._pause(None)


class _World:
    """Hands the baton round: lowest rank that can go on first, then the next one, round and round."""

    def __init__(self, topology: Topology, function: Callable[..., Any], inputs: Sequence[tuple[Any, ...]]) -> None:
        self.size, self.switch, self.back = topology.size, Switch(topology), threading.Semaphore(0)
        self.running: _Rank | None = None
        self.ranks = [_Rank(r, self, function, copy.deepcopy(arguments)) for r, arguments in enumerate(inputs)]

    def go(self) -> None:
        for rank in self.ranks:
            rank.start()
        try:
            while alive := [rank for rank in self.ranks if not rank.ended]:
                ran = 0
                for rank in filter(self._can_run, alive):
                    self._let_run(rank)
                    ran += 1
                if not ran:
                    self._nobody_can_run(alive)
        finally:
            self._stop()

    def _can_run(self, rank: _Rank) -> bool:
        return rank.waiting is False or (isinstance(rank.waiting, tuple) and self.switch.ready(rank.rank, *rank.waiting))

    def _let_run(self, rank: _Rank) -> None:
        self.running = rank
        rank.turn.release()
        self.back.acquire()
        self.running = None
        if isinstance(rank.error, NotImplementedError):         # an exercise that is still open: no rank's failure, told as in any cell
            raise rank.error
        if rank.error is not None:
            raise RankError(rank.rank, self.size, rank.error) from rank.error

    def _nobody_can_run(self, alive: list[_Rank]) -> None:
        told = self.switch.deadlock({rank.rank: rank.waiting for rank in alive if not isinstance(rank.waiting, bool)})
        if told:
            raise Deadlock(told)
        self.switch.network.barrier()                           # all of them wait at it
        for rank in alive:
            rank.waiting = False

    def _stop(self) -> None:
        """End the ranks that have not ended: those that wait give up, one that computes (after an interrupt) is told to."""
        for rank in self.ranks:
            if not rank.ended:
                rank.stopped = True
                if rank is self.running and rank.ident:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(rank.ident), ctypes.py_object(_Stop))
                rank.turn.release()
                rank.join(1.0)


def simulate(function: Callable[..., Any], inputs: Sequence[tuple[Any, ...]], network: Topology) -> Run:
    """Call function(comm, *arguments) on every rank of the network, with inputs[rank] as its arguments, and count what crosses it.

    Each rank gets its own copy of its arguments, as a process of its own would. Raises ValueError if there is not one tuple of
    arguments for each rank, RankError if a rank's function raises, Deadlock if no rank can go on.
    """
    if len(inputs) != network.size:
        raise ValueError(f"the network has {network.size} ranks, but there are inputs for {len(inputs)}: one tuple of arguments for each")
    if not all(isinstance(arguments, tuple) for arguments in inputs):
        raise ValueError("inputs is a list with one tuple of arguments for each rank: [(x0,), (x1,), …]")
    world = _World(network, function, inputs)
    world.go()
    return Run([rank.result for rank in world.ranks], world.switch.network, world.switch.unread())
