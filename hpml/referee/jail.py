"""Worker processes in a jail, seen from outside: start, freeze, read the clock and the memory, kill.

Two backends, one contract. `bubblewrap`: own mount, pid, network and ipc namespaces, read-only system, private /tmp, no sight
of the course or of other users' files, unprivileged user. `none`: the same worker with resource limits only; the verdict says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import math
import mmap
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

from hpml.course import CourseError
from hpml.referee import protocol

HERE = Path(__file__).resolve().parent
ARENA = 1 << 29                     # 512 MiB of address space shared with a worker; only touched pages cost memory
OUTPUT_KEPT = 16 << 10              # bytes of what a worker prints that are kept
OUTPUT_LIMIT = 8 << 20              # printing more than this ends the worker
UID = 65534                         # nobody
FREEZE_SECONDS = 2.0
TMP_BYTES = 64 << 20                # size of a worker's own /tmp and /dev/shm


class Stubborn(Exception):
    """The worker cannot be frozen: it was made so."""


class Died(Exception):
    """The worker ended by itself; `reason` is what the kernel says."""


def threads_environment(threads: int) -> dict[str, str]:
    """Every library's word for the number of threads, and an allocator that keeps its memory between calls.

    The machine's own choice of BLAS kernels is passed on, so that worker, card and notebook run the same ones.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
             "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    tuned = {name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ}
    return tuned | {name: str(threads) for name in names} | {
        "MALLOC_TRIM_THRESHOLD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 28), "MALLOC_TOP_PAD_": str(1 << 24),
        "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": "",
        "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0"}


def _interpreter_roots() -> list[str]:
    """What Python itself needs to see: its installation and its environment's libraries, and nothing else of the course."""
    roots = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))}
    return sorted(roots)


def _bubblewrap(files: Path) -> list[str]:
    args = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session",
            "--as-pid-1", "--clearenv"]
    for path in ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
                 "/etc/localtime", "/etc/alternatives"):
        if os.path.islink(path):
            args += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            args += ["--ro-bind", path, path]
    small = ["--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs"]
    args += [*small, "/tmp"]
    for path in _interpreter_roots():
        if not path.startswith("/usr/") and path != "/usr":
            for parent in reversed(Path(path).parents[:-1]):
                if str(parent) != "/tmp":
                    args += ["--perms", "0755", "--dir", str(parent)]
            args += ["--ro-bind", path, path]
    args += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", *small, "/dev/shm",
             "--ro-bind", str(files), "/referee", "--chdir", "/tmp"]
    if os.getuid() != 0:
        args += ["--unshare-user"]
    return args


@functools.lru_cache(maxsize=1)
def bubblewrap_problem() -> str | None:
    """Why bubblewrap cannot be used here, or None if it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap)"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run([*_bubblewrap(Path(folder)), sys.executable, "-c", "pass"], capture_output=True, text=True, timeout=20)
    if tried.returncode:
        return f"bubblewrap does not work here: {tried.stderr.strip() or 'it failed silently'}; user namespaces may be switched off"
    return None


def choose(wanted: str) -> str:
    """The backend to use for `jail:` in course.yml: auto, bubblewrap or none."""
    if wanted == "none":
        return "none"
    problem = bubblewrap_problem()
    if problem and wanted == "bubblewrap":
        raise CourseError(f"course.yml insists on the bubblewrap jail, but {problem}")
    return "none" if problem else "bubblewrap"


@functools.lru_cache(maxsize=1)
def _files() -> Path:
    """The files a worker needs, in a folder of their own that can be shown to a jail."""
    import atexit
    folder = Path(tempfile.mkdtemp(prefix="hpml-worker-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for name in ("worker.py", "protocol.py", "seccomp.py", "warm.py"):
        shutil.copy(HERE / name, folder / name)
        (folder / name).chmod(0o644)
    return folder


class Forked:
    """A worker forked from a warm parent, with the part of Popen's face that a Worker needs. Its end is told through a pipe."""

    def __init__(self, pid: int, stdout: IO[bytes], status: int) -> None:
        self.pid, self.stdout, self._status = pid, stdout, status
        self.returncode: int | None = None
        self._lock = threading.Lock()               # the drain of a flooding worker may wait for its end, too

    def wait(self, timeout: float | None = None) -> int:
        with self._lock:
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("worker", timeout or 0)
                text = os.read(self._status, 32)
                os.close(self._status)
                self.returncode = int(text) if text else -signal.SIGKILL
            return self.returncode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class WarmParent:
    """A jailed process that has imported `preload` and forks a worker in a fraction of a second; see warm.py."""

    def __init__(self, backend: str, preload: tuple[str, ...], threads: int = 1) -> None:
        self.backend = backend
        self.sock, theirs = socket.socketpair()
        setup = {"warm": True, "socket": theirs.fileno(), "preload": list(preload)}
        self.process, self.pid = _start(backend, setup, threads, [theirs.fileno()], warm=True)
        theirs.close()
        try:
            self._line()
        except Died:
            self.close()
            raise

    def _line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            if not (more := self.sock.recv(1)):
                said = self.process.stdout.read().decode("utf-8", "replace") if self.process.stdout else ""
                raise Died(f"the warm parent ended: {said[-400:]}")
            text += more
        return text.decode().strip()

    def fork(self, setup: dict[str, Any], theirs: socket.socket, arena: int) -> Forked:
        """A fresh worker, jailed on its own."""
        out_read, out_write = os.pipe()
        status_read, status_write = os.pipe()
        job = setup | {"isolate": self.backend != "none", "tmp": TMP_BYTES,
                       "under_tmp": [path for path in _interpreter_roots() if path.startswith("/tmp/")]}
        socket.send_fds(self.sock, [json.dumps(job).encode()], [theirs.fileno(), arena, out_write, status_write])
        os.close(out_write)
        os.close(status_write)
        inner = int(self._line())
        middle = next((p for p in _children(self.pid) if _inner_pid(p) == inner), 0)
        found: list[int] = []
        while middle and not (found := _children(middle)) and _state(middle) not in "ZX":
            time.sleep(0)
        return Forked(found[0] if found else 0, os.fdopen(out_read, "rb", buffering=0), status_read)

    def close(self) -> None:
        self.sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += [int(p) for p in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def _inner_pid(pid: int) -> int:
    """The pid of a process in its own innermost namespace."""
    try:
        line = next(row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("NSpid:"))
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return -1
    return int(line.split()[-1])


def _state(pid: int | str) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return chr(stat.read().rpartition(b")")[2].split()[0][0])
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _stopped(pid: int) -> bool:
    """True if no thread of a process can run: all are stopped, or gone."""
    try:
        return all(_state(f"{pid}/task/{task}") in "TtZX" for task in os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return True


def _start(backend: str, setup: dict[str, Any], threads: int, passed: list[int], warm: bool = False) -> tuple[subprocess.Popen[bytes], int]:
    """Start worker.py, jailed or not. Returns the process and the pid, on this side, of the worker itself."""
    environment, files = threads_environment(threads), _files()
    status_read = -1
    if backend == "bubblewrap":
        command = _bubblewrap(files)
        if warm:                        # it makes namespaces for its children, which then drop everything
            command += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        for name, value in environment.items():
            command += ["--setenv", name, value]
        status_read, status_write = os.pipe()
        command += ["--info-fd", str(status_write), "--", sys.executable, "-I", "/referee/worker.py", json.dumps(setup)]
        passed = [*passed, status_write]
    else:
        command = [sys.executable, "-I", str(files / "worker.py"), json.dumps(setup)]
    process = subprocess.Popen(command, pass_fds=passed, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment, start_new_session=True,
                               cwd=None if backend == "bubblewrap" else tempfile.gettempdir())
    if backend != "bubblewrap":
        return process, process.pid
    os.close(status_write)
    with os.fdopen(status_read) as status:
        text = status.read()
    return process, json.loads(text)["child-pid"] if text.strip() else process.pid


class Worker:
    """One jailed process. All methods are the referee's side; none trusts what the process says."""

    def __init__(self, backend: str, *, threads: int = 1, cores: tuple[int, ...] = (), memory: int | None = 3 << 30,
                 cpu_seconds: int = 600, lifetime: float = math.inf, processes: bool = False, parent: WarmParent | None = None) -> None:
        self.backend = backend
        self.ends = time.monotonic() + lifetime
        self.frozen = False
        self.sock, theirs = socket.socketpair()
        self.arena_fd = os.memfd_create("hpml-arena", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.arena_fd, ARENA)
        fcntl.fcntl(self.arena_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.arena = np.frombuffer(mmap.mmap(self.arena_fd, ARENA), np.uint8)
        limits = {"CORE": 0, "FSIZE": 64 << 20, "NOFILE": 256, "CPU": cpu_seconds, "NPROC": 256}
        if memory:
            limits["AS"] = memory + ARENA
        setup = {"socket": theirs.fileno(), "arena": self.arena_fd, "arena_bytes": ARENA, "limits": limits, "cores": list(cores),
                 "preload": [], "uid": UID if backend == "bubblewrap" else 0, "processes": processes}
        self.process: subprocess.Popen[bytes] | Forked
        if parent:
            self.process = parent.fork(setup, theirs, self.arena_fd)
            self.pid = self.process.pid
        else:
            self.process, self.pid = _start(backend, setup, threads, [theirs.fileno(), self.arena_fd])
        theirs.close()
        self.output = bytearray()
        self.output_bytes = 0
        self._drain = threading.Thread(target=self._read_output, daemon=True)
        self._drain.start()
        self.base = 0

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
            raise Died(self._epitaph()) from None
        finally:
            self.freeze()

    def _epitaph(self) -> str:
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
            found += _children(pid)
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
            raise Died(self._epitaph()) from None

    def _proc(self, name: str) -> str:
        """A file of the worker's in /proc. File names in it are the student's choice, so it may be any bytes."""
        try:
            return Path(f"/proc/{self.pid}/{name}").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            raise Died(self._epitaph()) from None

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
        for pid in [self.pid] if self.backend == "bubblewrap" else reversed(self.pids()):
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
        if self.arena_fd < 0:
            return
        self.kill()
        self.sock.close()
        if self.process.stdout:
            self.process.stdout.close()
        os.close(self.arena_fd)
        self.arena_fd = -1
        del self.arena

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
