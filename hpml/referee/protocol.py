"""Frames between the referee and its processes: versioned, length-prefixed, bounded; a JSON header and raw array bytes.

    b"HPM1" | u32 header length | u64 body length | header (UTF-8 JSON object) | body

Nothing here unpickles, evaluates or imports. A frame that breaks a rule raises ProtocolError, and the stream is then useless.
This file is also read by the jailed worker (beside it in the jail), so it needs the standard library only.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from typing import Any

MAGIC = b"HPM1"
PREFIX = struct.Struct("<4sIQ")
MAX_HEADER = 1 << 18            # 256 KiB: what is received
MAX_SENT = 1 << 23              # 8 MiB: what a trusted side may send, cells full of escaped characters among it
MAX_BODY = 1 << 30              # 1 GiB, to and from trusted processes; workers send no body


class ProtocolError(Exception):
    """The other side did not speak the protocol."""


class Closed(ProtocolError):
    """The other side is gone."""


class TimedOut(Exception):
    """No complete frame in time."""


def send(sock: socket.socket, header: dict[str, Any], body: bytes | memoryview = b"") -> None:
    """Send one frame; raises Closed if the other side is gone."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=True).encode()
    if len(text) > MAX_SENT:
        raise ProtocolError(f"a header of {len(text)} bytes is too long to send")
    try:
        sock.sendall(PREFIX.pack(MAGIC, len(text), len(body)) + text)
        if len(body):
            sock.sendall(body)
    except (BrokenPipeError, ConnectionError):
        raise Closed("the other side is gone") from None


def _read(sock: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([sock], [], [], left)[0]:
                raise TimedOut
        try:
            n = sock.recv_into(view[got:])
        except ConnectionError:
            n = 0
        if n == 0:
            raise Closed("the other side is gone")
        got += n
    return data


def receive(sock: socket.socket, timeout: float | None = None, max_body: int = 0,
            max_header: int = MAX_HEADER) -> tuple[dict[str, Any], bytearray]:
    """One frame: header and body. `timeout` in seconds holds for the whole frame.

    Raises TimedOut, Closed, or ProtocolError for anything that is not a frame within the bounds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    magic, header_size, body_size = PREFIX.unpack(_read(sock, PREFIX.size, deadline))
    if magic != MAGIC:
        raise ProtocolError("this is not a frame")
    if header_size > max_header or body_size > max_body:
        raise ProtocolError(f"a frame of {header_size} + {body_size} bytes is out of bounds")
    raw = _read(sock, header_size, deadline)
    body = _read(sock, body_size, deadline) if body_size else bytearray()
    try:
        header = json.loads(raw.decode())
    except (UnicodeDecodeError, ValueError, RecursionError) as e:
        raise ProtocolError(f"the header is not JSON: {type(e).__name__}") from None
    if not isinstance(header, dict):
        raise ProtocolError("the header is not a JSON object")
    return header, body
