"""One run of N ranks, seen from the client: start them, pass on what they say, and end all of them, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hpml.course import CourseError

if TYPE_CHECKING:
    from hpml.distributed.child import Spec
    from hpml.distributed.warm import Parent

TAIL_LINES = 20
LONGEST_LINE = 1 << 20
TERM_SECONDS = 2.0              # from SIGTERM to SIGKILL


class LaunchError(CourseError):
    """A run that could not start or did not end well; the message is complete. `.outcome` holds what there is of it."""

    outcome: Any = None

    def _render_traceback_(self) -> list[str]:
        return [str(self)]                              # in a notebook: the message, no traceback


@dataclass
class Outcome:
    """How a run ended. `failed`: ranks that failed by themselves, the first one first; `stopped`: "" or "timeout"; `answers`: bytes."""

    returncodes: list[int | None]
    values: list[dict[str, Any]] = field(default_factory=list)
    tails: list[deque[str]] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0
    first_output: float | None = None
    logs: list[Path] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, ranks: int, logs: Path | None = None) -> Outcome:
        """Of a run that begins now."""
        return cls([None] * ranks, [{} for _ in range(ranks)], [deque(maxlen=TAIL_LINES) for _ in range(ranks)],
                   logs=[logs / f"rank-{r}.log" for r in range(ranks)] if logs else [])

    def said(self, rank: int, line: bytes, tell: Callable[[int, str], None] | None) -> None:
        """A line of output: kept in the tail, and told."""
        if text := shown(line):
            if self.first_output is None:
                self.first_output = time.monotonic() - self.began
            self.tails[rank].append(text)
            if tell:
                tell(rank, text)

    def reported(self, rank: int, line: bytes, tell: Callable[[int, list[Any]], None] | None) -> None:
        """A line of the report channel (hpml/distributed/reporting.py)."""
        message = json.loads(line)
        self.values[rank].update(message.get("report", {}))
        if tell and "progress" in message:
            tell(rank, message["progress"])

    def problem(self, timeout: float | None = None) -> str:
        """One sentence on what went wrong, and the end of the log of the rank that it went wrong in; "" if all is well."""
        if self.stopped:
            return f"the run was stopped after {timeout:g} s (the time-out)" + self._end_of(0)
        if not self.failed:
            return ""
        guilty = self.culprit()
        code = self.returncodes[guilty]
        how = f"exit status {code}"
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            how = f"killed by {name}" + (": perhaps memory has run out" if -code == signal.SIGKILL else "")
        others = "; the other ranks were ended" if len(self.returncodes) > 1 else ""
        return f"rank {guilty} failed ({how}){others}{self._end_of(guilty)}"

    def culprit(self) -> int:
        """The rank that failed first, unless it only says that another one has left Horovod's world: the news travels fast."""
        news = ("because another rank has ended", "Horovod has been shut down")
        return next((r for r in self.failed if not any(said in line for said in news for line in self.tails[r])), self.failed[0])

    def _end_of(self, rank: int) -> str:
        where = f", whole log: {self.logs[rank]}" if self.logs else ""
        if not self.tails[rank]:
            return f". Rank {rank} wrote nothing{where}."
        return f". The end of what rank {rank} wrote{where}:\n" + "\n".join(f"    {line}" for line in self.tails[rank])


def shown(line: bytes) -> str:
    """A line as a terminal would leave it: what stands after the last carriage return, without backspaces."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    return text.rsplit("\r", 1)[-1].replace("\b", "").rstrip()


class Lines:
    """Cuts a rank's output into lines."""

    def __init__(self, take: Callable[[bytes], None]):
        self.take, self.rest = take, b""

    def feed(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.take(line)
        if len(self.rest) > LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """What stands there without an end of line."""
        if self.rest:
            self.take(self.rest)
            self.rest = b""


class Stream(Lines):
    """A rank's pipe; what comes through it is also written to `log`."""

    def __init__(self, fd: int, take: Callable[[bytes], None], log: BinaryIO | None = None):
        super().__init__(take)
        self.fd, self.log = fd, log
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Take what is there; False at the end of the stream. Raises BlockingIOError if there is nothing now."""
        data = os.read(self.fd, 1 << 16)
        if self.log:
            self.log.write(data)
            self.log.flush()
        self.feed(data)
        return bool(data)


class Run:
    """Context manager around the ranks of one run: leaving it, in whatever way, leaves none of them alive."""

    def __init__(self, parent: Parent, specs: Sequence[Spec], *, timeout: float | None = None, grace: float = 3.0,
                 line: Callable[[int, str], None] | None = None, progress: Callable[[int, list[Any]], None] | None = None,
                 logs: Path | None = None):
        self.size, self.timeout, self.grace, self.line, self.progress = len(specs), timeout, grace, line, progress
        self.outcome = Outcome.of(self.size, logs)
        self.parent, self.specs, self.streams = parent, specs, list[Stream]()
        self.answers: list[int] = []
        self.open_logs: list[BinaryIO] = []
        self.watch = selectors.DefaultSelector()
        self.failed_at, self.ending = 0.0, False

    def __enter__(self) -> Run:
        self.sock = self.parent.job()
        self.watch.register(self.sock, selectors.EVENT_READ, None)
        try:
            for rank, spec in enumerate(self.specs):
                self._start(rank, spec)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, rank: int, spec: Spec) -> None:
        memory = os.memfd_create(f"rank {rank}")
        os.write(memory, pickle.dumps(spec))
        os.lseek(memory, 0, os.SEEK_SET)
        self.answers.append(memory)
        out, their_out = os.pipe()
        reports, their_reports = os.pipe()
        log = None
        if self.outcome.logs:
            log = open(self.outcome.logs[rank], "wb")  # noqa: SIM115 (closed with the run)
            self.open_logs.append(log)
        outcome = self.outcome
        for stream in (Stream(out, lambda text: outcome.said(rank, text, self.line), log),
                       Stream(reports, lambda text: outcome.reported(rank, text, self.progress))):
            self.streams.append(stream)
            self.watch.register(stream.fd, selectors.EVENT_READ, stream)
        try:
            socket.send_fds(self.sock, [json.dumps({"rank": rank}).encode()], [memory, their_out, their_reports])
        except OSError:
            raise LaunchError(self.parent.obituary()) from None
        finally:
            os.close(their_out)
            os.close(their_reports)

    def wait(self) -> Outcome:
        """Until every rank has ended: by itself, `grace` seconds after another one failed, or at the time-out."""
        stop_at = self.outcome.began + self.timeout if self.timeout else None
        while None in self.outcome.returncodes:
            self._turn(stop_at)
            if self.outcome.failed:
                stop_at = min(stop_at or float("inf"), self.failed_at + self.grace)
            if stop_at and time.monotonic() >= stop_at and None in self.outcome.returncodes:
                if not self.outcome.failed:
                    self.outcome.stopped = "timeout"
                self.end()
        return self.outcome

    def _turn(self, until: float | None) -> None:
        for key, _ in self.watch.select(None if until is None else max(0.0, until - time.monotonic())):
            if key.data is None:
                self._heard()
            elif not key.data.read():
                self.watch.unregister(key.fd)

    def _heard(self) -> None:
        """The parent tells of a rank's end."""
        try:
            data = self.sock.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            raise LaunchError(self.parent.obituary())
        rank, code = json.loads(data)["ended"]
        self.outcome.returncodes[rank] = code
        if code and not self.ending:
            if not self.outcome.failed:
                self.failed_at = time.monotonic()
            self.outcome.failed.append(rank)

    def end(self) -> None:
        """SIGTERM to every rank that lives, and SIGKILL to those that do not heed it; returns when all are gone."""
        self.ending = True
        with contextlib.suppress(OSError):
            self.sock.send(json.dumps({"kill": signal.SIGTERM}).encode())
        until = time.monotonic() + TERM_SECONDS
        while None in self.outcome.returncodes and time.monotonic() < until:
            self._turn(until)
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)          # the parent kills what is left, and tells of each
        while None in self.outcome.returncodes:
            self._turn(None)

    def __exit__(self, *_: object) -> None:
        try:
            if None in self.outcome.returncodes and self.answers:
                with contextlib.suppress(LaunchError):
                    self.end()
            for stream in self.streams:                 # what the ranks wrote last
                with contextlib.suppress(BlockingIOError):
                    while stream.read():
                        pass
                stream.finish()
            self.outcome.answers = [os.pread(fd, os.fstat(fd).st_size, 0) for fd in self.answers]
            self.outcome.seconds = time.monotonic() - self.outcome.began
        finally:
            self.watch.close()
            self.sock.close()
            for fd in [*self.answers, *(s.fd for s in self.streams)]:
                os.close(fd)
            for log in self.open_logs:
                log.close()
