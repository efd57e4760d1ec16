"""A worker process seen from outside: ask, freeze, read its clock and its memory, kill. Nothing that it says is believed."""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpml.referee import protocol
from hpml.referee.jail import UID, Died, Forked, WarmParent, children, start, state

ARENA = 1 << 29                     # 512 MiB of address space shared with a worker; only touched pages cost memory
OUTPUT_KEPT = 16 << 10              # bytes of what a worker prints that are kept
OUTPUT_LIMIT = 8 << 20              # printing more than this ends the worker
FREEZE_SECONDS = 2.0


class Stubborn(Exception):
    """The worker cannot be frozen: it was made so."""


def _stopped(pid: int) -> bool:
    """True if no thread of a process can run: all are stopped, or gone."""
    try:
        return all(state(f"{pid}/task/{task}") in "TtZX" for task in os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return True


class Worker:
    """One jailed process. All methods are the referee's side; none trusts what the process says."""

    def __init__(self, backend: str, *, threads: int = 1, cores: tuple[int, ...] = (), memory: int | None = 3 << 30,
                 cpu_seconds: int = 600, lifetime: float = math.inf, processes: bool = False, parent: WarmParent | None = None,
                 hidden: Sequence[str] = (), tensors: bool = False, gpu: int | None = None, ranks: int = 0) -> None:
        """`ranks`: it is one of so many in a world."""
        self.backend = backend
        self.ends = time.monotonic() + lifetime
        self.frozen = False
        self.cores = len(cores or os.sched_getaffinity(0))
        self.sock, theirs = socket.socketpair()
        self.arena_fd = os.memfd_create("hpml-arena", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.arena_fd, ARENA)
        fcntl.fcntl(self.arena_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.arena = np.frombuffer(mmap.mmap(self.arena_fd, ARENA), np.uint8)
        limits = {"CORE": 0, "FSIZE": 64 << 20, "NOFILE": 256, "CPU": cpu_seconds, "NPROC": 256 * max(1, 2 * ranks)}
        if memory:
            limits["AS"] = memory + ARENA
        setup = {"socket": theirs.fileno(), "arena": self.arena_fd, "arena_bytes": ARENA, "limits": limits, "cores": list(cores),
                 "preload": [], "uid": UID if backend == "bubblewrap" else 0, "processes": processes, "tensors": tensors,
                 "rank": ranks > 0}
        self.process: subprocess.Popen[bytes] | Forked
        try:
            if parent:
                self.process = parent.fork(setup, theirs, self.arena_fd)
                self.first = self.pid = self.process.pid
            else:
                self.process, self.first, self.pid = start(backend, setup, threads, [theirs.fileno(), self.arena_fd],
                                                           hidden=hidden, gpu=gpu)
        except Died:
            self.sock.close()
            os.close(self.arena_fd)
            raise
        finally:
            theirs.close()
        self.output = bytearray()
        self.output_bytes = 0
        self._drain = threading.Thread(target=self._read_output, daemon=True)
        self._drain.start()
        self.base = 0
        self.prepared: Any = None               # the arguments that a rank was last asked to prepare

    def _read_output(self) -> None:
        assert self.process.stdout
        while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
            self.output_bytes += len(chunk)
            self.output += chunk[: max(0, OUTPUT_KEPT - len(self.output))]
            if self.output_bytes > OUTPUT_LIMIT:
                self.kill()
                return

    def wait_ready(self, timeout: float = 120) -> None:
        """Until the worker has confined itself and imported what it preloads."""
        self.base = int(self.ask(None, timeout)["ready"])

    def ask(self, request: dict[str, Any] | None, timeout: float) -> dict[str, Any]:
        """Send a request (if any), let the jail run until it has answered, and freeze it again.

        Raises Died, TimedOut, ProtocolError, or Stubborn.
        """
        try:
            if request is not None:
                protocol.send(self.sock, request)
            self.thaw()
            return protocol.receive(self.sock, min(timeout, self.ends - time.monotonic()))[0]
        except protocol.Closed:
            raise Died(self.epitaph()) from None
        finally:
            self.freeze()

    def epitaph(self) -> str:
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its channel to the referee"
        if self.output_bytes > OUTPUT_LIMIT:
            return f"it printed more than {OUTPUT_LIMIT >> 20} MB"
        signalled = -code if code < 0 else code - 128 if code > 128 else 0
        if signalled == signal.SIGXCPU:
            return "it used up its processor time"
        if signalled:
            return f"it was ended by {signal.Signals(signalled).name}" if signalled in signal.valid_signals() else f"exit status {code}"
        return f"it left with exit status {code}"

    # -- frozen or not ---------------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Every process of the jail, the worker first."""
        found = [self.pid]
        for pid in found:
            found += children(pid)
        return found

    def freeze(self) -> None:
        """Stop every thread of every process of the jail, and wait until all are. One that does not stop is killed: Stubborn."""
        give_up = time.monotonic() + FREEZE_SECONDS
        stopped: set[int] = set()
        while pids := [p for p in self.pids() if p not in stopped]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                if _stopped(pid):
                    stopped.add(pid)
            if not stopped.issuperset(pids):
                time.sleep(1e-4)            # a thread needs a core to stop on, and may be waiting for this one
            if time.monotonic() > give_up:
                self.kill()
                raise Stubborn("it could not be stopped between calls")
        self.frozen = True

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def cpu_ns(self) -> int:
        """Processor time of the whole jail in ns, as the kernel accounts it, ended threads and reaped children included."""
        total = 0
        for pid in self.pids():
            try:
                total += time.clock_gettime_ns((~pid << 3) | 2)              # the process's CPU clock, seen from outside
                with open(f"/proc/{pid}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
                total += (int(fields[13]) + int(fields[14])) * (10**9 // os.sysconf("SC_CLK_TCK"))
            except (OSError, ProcessLookupError):
                continue
        return total

    def waited_ns(self) -> int:
        """Time in ns that the jail's threads were ready to run and had no core, added up: the kernel's run-queue wait."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                        total += int(stat.read().split()[1])
        return total

    def lost_ns(self, waited: int, ran: int, wall: int) -> int:
        """Core time in ns that the jail wanted and others had, in `wall` ns since `waited_ns` and `cpu_ns` showed `waited` and `ran`.

        Its threads also wait while others of its own run; that takes nothing from it.
        """
        return max(0, min(self.waited_ns() - waited, self.cores * wall - (self.cpu_ns() - ran)))

    def memory(self, field: str) -> int:
        """A field of /proc/PID/status (VmRSS, VmHWM), summed over the jail, in bytes."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(field + ":"):
                        total += int(line.split()[1]) << 10
        return total

    def libraries(self) -> str:
        """Paths of all files that are mapped into the worker, as the kernel knows them."""
        return self._proc("maps")

    def reset_peak(self) -> None:
        """Let VmHWM start again from the present VmRSS."""
        try:
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        except (FileNotFoundError, ProcessLookupError):
            raise Died(self.epitaph()) from None

    def _proc(self, name: str) -> str:
        """A file of the worker's in /proc. File names in it are the student's choice, so it may be any bytes."""
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            raise Died(self.epitaph()) from None

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of the worker's memory at `address`. Raises OSError where there is nothing to read."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            chunks, at = [], address
            while size > 0:
                chunk = os.pread(memory.fileno(), size, at)
                if not chunk:
                    raise OSError("no memory there")
                chunks.append(chunk)
                at, size = at + len(chunk), size - len(chunk)
        return b"".join(chunks)

    def printed(self) -> str:
        """What the worker printed, shortened."""
        text = self.output.decode("utf-8", "replace")
        return text + (f"\n… ({self.output_bytes} bytes in all)" if self.output_bytes > len(self.output) else "")

    def kill(self) -> None:
        """End the whole jail: its pid namespace dies with its first process, and bubblewrap after it."""
        for pid in [self.first] if self.backend == "bubblewrap" else reversed(self.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if threading.current_thread() is not self._drain:
            self._drain.join(5)

    def close(self) -> None:
        """Kill, and let go of everything. Closing twice is well."""
        if self.closed:
            return
        self.kill()
        self.sock.close()
        if self.process.stdout:
            self.process.stdout.close()
        os.close(self.arena_fd)
        self.arena_fd = -1
        del self.arena

    @property
    def closed(self) -> bool:
        return self.arena_fd < 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
