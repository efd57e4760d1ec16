"""The oracle process: expected results, hints and pictures from a lab's `exercises.py`. Trusted; the only one of the referee's
own processes that imports a framework. Idle while a clock runs. Started as `python -m hpml.referee.oracle FD LAB`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from hpml import course, exercise, gpu
from hpml.exercise import Case, Exercise
from hpml.referee import arrays, protocol
from hpml.referee.jail import threads_environment


class OracleError(Exception):
    """The oracle itself failed: the course's fault, never the student's."""


class Oracle:
    """The referee's end."""

    def __init__(self, lab: str) -> None:
        self.sock, theirs = socket.socketpair()
        environment = (dict(os.environ) | threads_environment(1) | gpu.environment(None)
                       | {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")})
        self.process = subprocess.Popen([sys.executable, "-m", "hpml.referee.oracle", str(theirs.fileno()), lab],
                                        pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=environment)
        theirs.close()

    def _ask(self, request: dict[str, Any], values: Any = None) -> tuple[dict[str, Any], bytearray]:
        description, chunks = arrays.pack(values)
        try:
            protocol.send(self.sock, request | {"values": description}, b"".join(chunks))
            answer, body = protocol.receive(self.sock, 300, protocol.MAX_BODY)
        except (protocol.ProtocolError, protocol.TimedOut) as e:
            self.process.kill()
            stderr = self.process.stderr.read().decode("utf-8", "replace")[-600:] if self.process.stderr else ""
            raise OracleError(f"the oracle ended ({e or type(e).__name__}): {stderr.strip()}") from None
        if "error" in answer:
            raise OracleError(answer["error"])
        return answer, body

    def expect(self, name: str, calls: list[tuple[Any, ...]]) -> list[Any]:
        """Expected results of several calls."""
        answer, body = self._ask({"do": "expect", "exercise": name}, calls)
        return list(arrays.unpack(answer["result"], memoryview(body))[0])

    def hint(self, name: str, case: Case) -> str | None:
        """The first hint that fits a wrong case."""
        answer, _ = self._ask({"do": "hint", "exercise": name, "size": dict(case.size)}, (case.args, case.got, case.expected))
        hint = answer["hint"]
        return None if hint is None else str(hint)

    def draw(self, name: str, case: Case) -> str | None:
        """The exercise's picture as SVG, if it has one."""
        answer, body = self._ask({"do": "draw", "exercise": name, "size": dict(case.size)}, (case.args, case.got, case.expected))
        return body.decode() or None

    def close(self) -> None:
        self.sock.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()


def _serve(request: dict[str, Any], values: Any, declared: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    found: Exercise = declared[request["exercise"]]
    if request["do"] == "expect":
        description, chunks = arrays.pack([found.oracle(*call) for call in values])
        return {"result": description}, b"".join(chunks)
    args, got, expected = values
    if found.world:
        got, expected = got and list(got), list(expected)
    case = Case(args, got, expected, request["size"])
    if request["do"] == "hint":
        return {"hint": next((h.text for h in found.hints if h.when(case)), None)}, b""
    if found.draw is None:
        return {}, b""
    from hpml import plots
    return {}, plots.svg(found.draw(case)).encode()


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    declared = exercise.load(course.load().lab(sys.argv[2]))
    while True:
        try:
            request, body = protocol.receive(sock, None, protocol.MAX_BODY)
        except protocol.Closed:
            return
        try:
            values, _ = arrays.unpack(request["values"], memoryview(body))
            answer, out = _serve(request, values, declared)
        except Exception as e:                            # reported to the referee, which turns it into `infrastructure`
            answer, out = {"error": f"{type(e).__name__} in {request.get('exercise')}: {e}"}, b""
        protocol.send(sock, answer, out)


if __name__ == "__main__":
    main()
