"""The referee as a process: one JSON request a line in, one JSON answer a line out, on standard streams or a Unix socket.

Request   {"lab": name, "cells": {exercise: source}, "exercises": [names] or null, "seed": int or null}
Answer    {"verdicts": [...]} or {"error": sentence}
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from hpml.course import CourseError
from hpml.referee import evidence
from hpml.referee.judge import judge
from hpml.referee.oracle import OracleError
from hpml.referee.resources import LabReferee, Purpose

MAX_LINE = 4 << 20
IDLE_SECONDS = 900          # frameworks are let go after a quarter of an hour without a request


class Server:
    """Keeps one LabReferee a lab, so that its oracle and baselines stay warm."""

    def __init__(self, purpose: Purpose) -> None:
        self.purpose: Purpose = purpose
        self.labs: dict[str, LabReferee] = {}

    def answer(self, line: bytes) -> dict[str, Any]:
        """One request → one answer; whatever is wrong with the request becomes a sentence."""
        try:
            request = json.loads(line)
            lab, cells, exercises = request["lab"], request["cells"], request.get("exercises")
            if not (isinstance(lab, str) and isinstance(cells, dict) and all(isinstance(v, str) for v in cells.values())
                    and (exercises is None or isinstance(exercises, list)) and isinstance(request.get("seed"), int | None)):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": "the request is not one that this referee understands"}
        try:
            if lab not in self.labs:
                self.labs[lab] = LabReferee(lab, self.purpose)
            verdicts = judge(self.labs[lab], cells, exercises, request.get("seed"))
            if self.purpose == "grade":
                verdicts = [evidence.sign(v) for v in verdicts]
            return {"verdicts": [v.model_dump(mode="json") for v in verdicts]}
        except CourseError as e:
            return {"error": str(e)}
        except OracleError as e:
            self.labs.pop(lab).close()          # start afresh next time
            return {"error": f"the referee's own side failed: {e}"}

    def close(self) -> None:
        for referee in self.labs.values():
            referee.close()
        self.labs.clear()

    def serve(self, source: IO[bytes], sink: IO[bytes]) -> None:
        """Until the other side closes."""
        while True:
            if self.labs and not select.select([source], [], [], IDLE_SECONDS)[0]:
                self.close()
                continue
            line = source.readline(MAX_LINE)
            if not line:
                return
            if not line.endswith(b"\n"):
                sink.write(b'{"error": "the request is too long"}\n')
                sink.flush()
                return
            sink.write(json.dumps(self.answer(line)).encode() + b"\n")
            sink.flush()


def listen(path: str, server: Server) -> None:
    """Serve on a Unix socket, one request at a time in the order of arrival: measured jobs need the machine to themselves."""
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        os.unlink(path)
    one = ThreadPoolExecutor(max_workers=1)             # which also is the parent of all workers, and outlives every client

    def client(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as source, connection.makefile("wb") as sink:
            while (line := source.readline(MAX_LINE)).endswith(b"\n"):
                sink.write(json.dumps(one.submit(server.answer, line).result()).encode() + b"\n")
                sink.flush()

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        os.chmod(path, 0o666)
        door.listen(64)
        print(f"The referee listens on {path}. Students: export HPML_REFEREE={path}", flush=True)
        while True:
            threading.Thread(target=client, args=(door.accept()[0],), daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="hpml referee", description="Run the referee as a service, under its own account, for a hub.",
                                     epilog="Example: hpml referee --socket /run/hpml/referee.sock")
    parser.add_argument("--purpose", choices=("desk", "grade"), default="desk")
    parser.add_argument("--socket", metavar="PATH", help="listen on a Unix socket instead of standard input")
    options = parser.parse_args(argv)
    server = Server(options.purpose)
    try:
        if options.socket:
            listen(options.socket, server)
        else:
            sink = os.fdopen(os.dup(1), "wb")
            os.dup2(2, 1)                       # nothing but answers may reach the channel
            with open(0, "rb", buffering=0, closefd=False) as source:
                server.serve(source, sink)
    except KeyboardInterrupt:
        return 130
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
