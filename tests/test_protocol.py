import json
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpml.referee import protocol
from hpml.referee.protocol import PREFIX, Closed, ProtocolError, TimedOut


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def test_round_trip(ends: tuple[socket.socket, socket.socket]) -> None:
    protocol.send(ends[0], {"a": [1, 2.5, None, "é"]}, b"bytes")
    assert protocol.receive(ends[1], 1, max_body=100) == ({"a": [1, 2.5, None, "é"]}, b"bytes")


def test_a_large_body_goes_through(ends: tuple[socket.socket, socket.socket]) -> None:
    body = bytes(range(256)) * 20_000
    sender = threading.Thread(target=protocol.send, args=(ends[0], {}, body))
    sender.start()
    assert protocol.receive(ends[1], 5, max_body=len(body))[1] == body
    sender.join()


@given(st.binary(max_size=300))
def test_rubbish_never_does_more_than_raise(data: bytes) -> None:
    a, b = socket.socketpair()
    with a, b:
        a.sendall(data)
        a.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError):
            protocol.receive(b, 1)


@given(st.binary(max_size=60))
def test_a_well_framed_rubbish_header_is_refused_or_an_object(text: bytes) -> None:
    a, b = socket.socketpair()
    with a, b:
        a.sendall(PREFIX.pack(b"HPM1", len(text), 0) + text)
        a.shutdown(socket.SHUT_WR)
        try:
            header, _ = protocol.receive(b, 1)
            assert isinstance(header, dict) and header == json.loads(text)
        except ProtocolError:
            pass


@pytest.mark.parametrize("prefix", [
    PREFIX.pack(b"HPM2", 2, 0), PREFIX.pack(b"HPM1", 1 << 30, 0), PREFIX.pack(b"HPM1", 2, 1), PREFIX.pack(b"HPM1", 2, 1 << 60)])
def test_other_versions_and_huge_frames_are_refused_unread(ends: tuple[socket.socket, socket.socket], prefix: bytes) -> None:
    ends[0].sendall(prefix + b"{}")
    with pytest.raises(ProtocolError):
        protocol.receive(ends[1], 1)


def test_deep_nesting_is_refused(ends: tuple[socket.socket, socket.socket]) -> None:
    text = b"[" * 100_000
    threading.Thread(target=ends[0].sendall, args=(PREFIX.pack(b"HPM1", len(text), 0) + text,), daemon=True).start()
    with pytest.raises(ProtocolError):
        protocol.receive(ends[1], 5)


def test_silence_times_out_and_half_a_frame_too(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(TimedOut):
        protocol.receive(ends[1], 0)
    ends[0].sendall(PREFIX.pack(b"HPM1", 10, 0))
    with pytest.raises(TimedOut):
        protocol.receive(ends[1], 0.01)


def test_a_closed_end(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].close()
    with pytest.raises(Closed):
        protocol.receive(ends[1], 1)
    with pytest.raises(Closed):
        protocol.send(ends[1], {})


def test_a_header_too_long_is_not_sent(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ProtocolError):
        protocol.send(ends[0], {"x": "y" * protocol.MAX_SENT})
