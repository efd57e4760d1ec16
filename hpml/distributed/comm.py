"""What a student's function calls: the buffer half of mpi4py's communicator, over any way to move arrays.

    comm.rank  comm.size  Get_rank()  Get_size()
    Send(buf, dest, tag=0)   Recv(buf, source, tag=0)   Sendrecv(sendbuf, dest, sendtag, recvbuf, source, recvtag)
    Isend(buf, dest, tag=0)  Irecv(buf, source, tag=0)  → a request with Wait()      Barrier()

Buffers are contiguous NumPy arrays, as in mpi4py; a message may be shorter than the buffer it is received into, never longer. Where MPI
would hand over bytes without looking (float64 sent, float32 received) this says what is wrong. Errors have mpi4py's types
(BufferError, TypeError, RuntimeError for a truncated message); ValueError for a rank that is not there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np

COLLECTIVES = ("Bcast", "Reduce", "Allreduce", "Gather", "Allgather", "Scatter", "Reduce_scatter", "Alltoall")


class Transport(Protocol):
    """Moves arrays from rank to rank, in order for each (source, tag)."""

    def send(self, dest: int, tag: int, payload: np.ndarray) -> None:
        """Take a contiguous array that belongs to nobody else. Never waits for the receiver."""

    def receive(self, source: int, tag: int) -> np.ndarray:
        """The oldest such array; waits for it."""

    def barrier(self) -> None:
        """Wait for every rank."""


class Request:
    """A message on its way; `Wait()` returns True once the buffer may be used again."""

    def __init__(self, finish: Callable[[Request], None] | None = None) -> None:
        self.done, self._finish = finish is None, finish

    def Wait(self) -> bool:
        if not self.done and self._finish:
            self._finish(self)
        return True

    wait = Wait


class Comm:
    """One rank's view of the world."""

    def __init__(self, rank: int, size: int, transport: Transport) -> None:
        self._rank, self._size, self._transport = rank, size, transport
        self._posted: dict[tuple[int, int], deque[tuple[Request, np.ndarray]]] = {}

    rank = property(lambda self: self._rank)
    size = property(lambda self: self._size)

    def Get_rank(self) -> int:
        return self._rank

    def Get_size(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<comm: rank {self._rank} of {self._size}>"

    def __getattr__(self, name: str) -> NoReturn:
        if name in COLLECTIVES or name.lower() in ("allreduce", "bcast", "reduce", "gather", "allgather", "scatter"):
            raise AttributeError(f"comm has no {name} here: it is made of Send, Recv and Sendrecv, and that is the exercise")
        if name in ("send", "recv", "isend", "irecv", "sendrecv", "barrier"):
            raise AttributeError(f"comm has no {name} here: {name.capitalize()}, with a capital letter, moves NumPy arrays")
        raise AttributeError(f"comm has no {name}: it has rank, size, Send, Recv, Sendrecv, Isend, Irecv and Barrier")

    def Send(self, buf: np.ndarray, dest: int, tag: int = 0) -> None:
        self.Isend(buf, dest, tag)

    def Recv(self, buf: np.ndarray, source: int, tag: int = 0) -> None:
        self.Irecv(buf, source, tag).Wait()

    def Sendrecv(self, sendbuf: np.ndarray, dest: int, sendtag: int = 0, recvbuf: np.ndarray | None = None, source: int | None = None,
                 recvtag: int = 0) -> None:
        if recvbuf is None or source is None:
            raise TypeError("Sendrecv needs recvbuf=… and source=…: it sends and receives at once")
        arriving = self.Irecv(recvbuf, source, recvtag)
        self.Send(sendbuf, dest, sendtag)
        arriving.Wait()

    def Isend(self, buf: np.ndarray, dest: int, tag: int = 0) -> Request:
        payload = _buffer(buf, "sent")
        self._transport.send(self._known(dest, "dest"), _tag(tag), payload.copy(order="K"))
        return Request()

    def Irecv(self, buf: np.ndarray, source: int, tag: int = 0) -> Request:
        buffer = _buffer(buf, "received into")
        if not buffer.flags.writeable:
            raise BufferError("this array is read-only: nothing can be received into it; receive into a copy")
        key = self._known(source, "source"), _tag(tag)
        request = Request(lambda wanted: self._receive(wanted, key))
        self._posted.setdefault(key, deque()).append((request, buffer))
        return request

    def Barrier(self) -> None:
        self._transport.barrier()

    def _receive(self, wanted: Request, key: tuple[int, int]) -> None:
        """Fill the posted buffers of this (source, tag) in the order in which they were posted, up to the wanted one."""
        while not wanted.done:
            payload = self._transport.receive(*key)
            request, buffer = self._posted[key].popleft()
            request.done = True
            _fill(buffer, payload, key[0])

    def _known(self, rank: Any, what: str) -> int:
        if not isinstance(rank, int | np.integer) or isinstance(rank, bool):
            raise TypeError(f"{what} is the number of a rank, not {rank!r}")
        if not 0 <= rank < self._size:
            raise ValueError(f"{what}={rank}, but the ranks are 0 to {self._size - 1}: count modulo comm.size?")
        return int(rank)


def _tag(tag: Any) -> int:
    if not isinstance(tag, int | np.integer) or isinstance(tag, bool) or tag < 0:
        raise ValueError(f"a tag is a whole number from 0, not {tag!r}")
    return int(tag)


def _buffer(buf: Any, what: str) -> np.ndarray:
    if not isinstance(buf, np.ndarray):
        raise TypeError(f"only NumPy arrays are sent and received here, not {type(buf).__name__}: np.array([…])")
    if buf.dtype.hasobject:
        raise TypeError("an array of Python objects cannot be sent: give it a numeric dtype")
    if not (buf.flags.c_contiguous or buf.flags.f_contiguous):
        raise BufferError(f"ndarray is not contiguous: this slice has gaps, and only whole stretches of memory are {what}; "
                          "use np.ascontiguousarray(…) or another layout")
    return buf


def _fill(buffer: np.ndarray, payload: np.ndarray, source: int) -> None:
    """Copy a message into the beginning of a contiguous buffer, in the order of memory, as MPI does."""
    if payload.nbytes > buffer.nbytes:
        raise RuntimeError(f"MPI_ERR_TRUNCATE: message truncated: rank {source} sent {payload.size} numbers ({payload.nbytes} bytes) "
                           f"into a buffer for {buffer.size} ({buffer.nbytes} bytes)")
    if payload.dtype != buffer.dtype:
        raise TypeError(f"rank {source} sent {payload.dtype}, but the buffer to receive into is {buffer.dtype}")
    buffer.reshape(-1, order="A")[:payload.size] = payload.reshape(-1, order="A")
