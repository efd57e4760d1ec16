"""The client's end of the referee: what `check()` and `hpml grade` call."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from typing import IO, Literal

from hpml import course
from hpml.course import CourseError
from hpml.verdict import Verdict

Purpose = Literal["desk", "grade"]      # grading also looks at hidden sizes, and signs


class RefereeError(Exception):
    """The referee could not answer; the message says what to do."""


class Referee:
    """A referee process of one's own, or the hub's where `HPML_REFEREE` names its socket. Started at the first request.

        with Referee() as referee:
            verdicts = referee.judge("04-conv-gemm", {"im2col": source})
    """

    def __init__(self, purpose: Purpose = "desk", address: str | None = None, lane: int = 0) -> None:
        self.purpose, self.lane = purpose, lane         # referees that work side by side pin their workers to different cores
        self.address = address or (os.environ.get("HPML_REFEREE") if purpose == "desk" else None)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._to: IO[bytes] | None = None
        self._from: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._unread = 0                # answers that nobody waited for

    def _connect(self) -> None:
        if self.address:
            door = socket.socket(socket.AF_UNIX)
            try:
                door.connect(self.address)
            except OSError as e:
                door.close()
                raise RefereeError(f"No referee answers at {self.address} ({e.strerror}). Tell your instructor; "
                                   "your work is safe in this notebook.") from None
            self._to, self._from = door.makefile("wb"), door.makefile("rb")
            door.close()
            return
        self._errors = tempfile.TemporaryFile()         # noqa: SIM115 (closed by `close`)
        environment = dict(os.environ, HPML_ROOT=str(course.ROOT), HPML_LANE=str(self.lane))
        self._process = subprocess.Popen([sys.executable, "-m", "hpml.referee.server", "--purpose", self.purpose],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment,
                                         start_new_session=True)
        self._to, self._from = self._process.stdin, self._process.stdout

    def warm(self, lab: str) -> None:
        """Let the referee get ready for a lab, its oracle's framework above all, without waiting for it. Raises RefereeError."""
        with self._lock:
            if self._to is None:
                self._connect()
                assert self._to
                self._to.write(json.dumps({"lab": lab, "cells": {}, "exercises": []}).encode() + b"\n")
                self._to.flush()
                self._unread += 1

    def judge(self, lab: str, cells: dict[str, str], exercises: Iterable[str] | None = None, seed: int | None = None) -> list[Verdict]:
        """Verdicts on the named exercises (default: all but the manually graded), in order.

        lab        name of the lab in course.yml
        cells      exercise → source of its cell; a missing one is `malformed` when grading, `not attempted` at the desk
        Raises RefereeError or CourseError.
        """
        request = {"lab": course.load().lab(lab).lab, "cells": cells, "seed": seed,
                   "exercises": None if exercises is None else list(exercises)}
        with self._lock:
            if self._to is None or (self._process and self._process.poll() is not None):
                self.close()
                self._connect()
            assert self._to and self._from
            try:
                self._to.write(json.dumps(request).encode() + b"\n")
                self._to.flush()
                for _ in range(self._unread):
                    self._from.readline()
                self._unread = 0
                line = self._from.readline()
            except (BrokenPipeError, ConnectionError):
                line = b""
            except BaseException:           # Ctrl-C, say: the next check must not read the answer to this one
                self.interrupt()
                self.close()
                raise
            if not line:
                said = ""
                if self._errors:
                    self._errors.seek(0)
                    said = self._errors.read()[-800:].decode("utf-8", "replace").strip()
                self.close()
                raise RefereeError(f"The referee stopped while checking; run the check again. {said}")
        answer = json.loads(line)
        if "error" in answer:
            raise CourseError(answer["error"])
        return [Verdict.model_validate(v) for v in answer["verdicts"]]

    def interrupt(self) -> None:
        """End it in the middle of a check, from another thread: whoever waits for the verdict gets a RefereeError."""
        if self._process:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End the referee and all its workers."""
        for stream in (self._to, self._from):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        if self._process:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._errors:
            self._errors.close()
        self._process = self._to = self._from = self._errors = None
        self._unread = 0

    def __enter__(self) -> Referee:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
