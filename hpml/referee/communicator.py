"""How a rank in a simulated world reaches the others: every message goes to the referee, who passes it on.

Lies beside worker.py in the jail, as does what the student's function calls (hpml/distributed/comm.py, there as mpi_comm.py). Nothing here
is trusted: the referee checks each frame, keeps the messages, and counts them.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import mpi_comm  # type: ignore[import-not-found]
import numpy as np
import protocol  # type: ignore[import-not-found]

MOST_BYTES = 64 << 20


class Frames:
    """The transport of one rank's `comm`: frames on the rank's channel to the referee. Threads take turns."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._turn = sock, threading.Lock()

    def _ask(self, header: dict[str, Any], data: Any = b"") -> tuple[dict[str, Any], bytearray]:
        with self._turn:
            protocol.send(self._sock, header, data)
            answer: tuple[dict[str, Any], bytearray] = protocol.receive(self._sock, None, protocol.MAX_BODY)
            return answer

    def send(self, dest: int, tag: int, payload: np.ndarray) -> None:
        if payload.dtype.kind not in "biufc":
            raise TypeError(f"an array of {payload.dtype} cannot be sent: give it a numeric dtype")
        if payload.nbytes > MOST_BYTES:
            raise ValueError(f"a message of {payload.nbytes} bytes is too long for a check, which allows {MOST_BYTES}")
        self._ask({"send": [dest, tag], "dtype": payload.dtype.str}, payload.tobytes(order="A"))

    def receive(self, source: int, tag: int) -> np.ndarray:
        header, data = self._ask({"receive": [source, tag]})
        return np.frombuffer(data, header["dtype"])

    def barrier(self) -> None:
        self._ask({"barrier": True})


def comm(sock: socket.socket, rank: int, size: int) -> Any:
    """What the student's function gets as its first argument."""
    return mpi_comm.Comm(rank, size, Frames(sock))
