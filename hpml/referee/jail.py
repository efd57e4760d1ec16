"""Ways into a jail: start a worker process cold, or fork it from a warm parent.

Two backends, one contract. `bubblewrap`: own mount, pid, network and ipc namespaces, read-only system, private /tmp, no sight
of the course or of other users' files, unprivileged user. `none`: the same worker with resource limits only; the verdict says so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
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
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from hpml import gpu as devices
from hpml.course import CourseError

HERE = Path(__file__).resolve().parent
UID = 65534                         # nobody
FORBIDDEN = "is not for this exercise"          # what importing a hidden library says, behind its name
FORK_SECONDS = 2.0                  # until a process that was forked is seen
TMP_BYTES = 64 << 20                # size of a worker's own /tmp and /dev/shm


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
        "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1",
        "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0"}


def _interpreter_roots() -> list[str]:
    """What Python itself needs to see: its installation and its environment's libraries, and nothing else of the course."""
    roots = {sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))}
    return sorted(roots)


@functools.lru_cache(maxsize=64)
def _folders(library: str) -> tuple[str, ...]:
    """Where an installed library lies; nowhere if it is not installed."""
    found = importlib.util.find_spec(library)
    return tuple(found.submodule_search_locations or ()) if found else ()


def _bubblewrap(files: Path, hidden: Sequence[str] = (), devices: Sequence[str] = ()) -> list[str]:
    args = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session",
            "--clearenv"]
    if os.getuid() != 0:
        args += ["--as-pid-1"]          # where root starts it, a process of root's is first: the kernel lets it die with us, but not nobody
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
    for device in devices:
        args += ["--dev-bind", device, device]
    if devices:
        args += ["--ro-bind", "/sys", "/sys"]               # where CUDA reads how the GPUs are connected
    for library in hidden:
        for folder in _folders(library):
            args += ["--ro-bind", str(files / "forbidden"), folder]
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
    shown = {name: name for name in ("worker.py", "protocol.py", "seccomp.py", "warm.py", "communicator.py")}
    shown |= {"../distributed/world.py": "world.py", "../distributed/comm.py": "mpi_comm.py"}     # Jupyter has a package `comm`
    for name, there in shown.items():
        shutil.copy(HERE / name, folder / there)
        (folder / there).chmod(0o644)
    (folder / "forbidden").mkdir(mode=0o755)
    (folder / "forbidden" / "__init__.py").write_text(f'raise ImportError(f"{{__name__}} {FORBIDDEN}")\n')
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
    """A jailed process that has imported `preload` and forks a worker in a fraction of a second; see warm.py.

    With `wait=False` it is not waited for until it is needed; `ready()` does, and raises Died where it could not import.
    """

    kept = False                        # whether its workers share a network

    def __init__(self, backend: str, preload: tuple[str, ...], threads: int = 1, hidden: Sequence[str] = (), wait: bool = True,
                 gpu: int | None = None) -> None:
        self.backend = backend
        self.sock, theirs = socket.socketpair()
        setup = {"warm": True, "socket": theirs.fileno(), "preload": list(preload)}
        self.process, self.first, self.pid = start(backend, setup, threads, [theirs.fileno()], warm=True, hidden=hidden, gpu=gpu)
        theirs.close()
        self._is_ready = False
        if wait:
            self.ready()

    def ready(self) -> None:
        if not self._is_ready:
            try:
                self._line()
            except Died:
                self.close()
                raise
            self._is_ready = True

    def _line(self) -> str:
        text = b""
        while not text.endswith(b"\n"):
            if not (more := self.sock.recv(1)):
                said = "" if self.kept or not self.process.stdout else self.process.stdout.read().decode("utf-8", "replace")
                raise Died(f"the warm parent ended: {said[-400:]}")
            text += more
        return text.decode().strip()

    def fork(self, setup: dict[str, Any], theirs: socket.socket, arena: int) -> Forked:
        """A fresh worker, jailed on its own."""
        self.ready()
        out_read, out_write = os.pipe()
        status_read, status_write = os.pipe()
        job = setup | {"isolate": self.backend != "none", "tmp": TMP_BYTES, "kept": self.kept,
                       "under_tmp": [path for path in _interpreter_roots() if path.startswith("/tmp/")]}
        socket.send_fds(self.sock, [json.dumps(job).encode()], [theirs.fileno(), arena, out_write, status_write])
        os.close(out_write)
        os.close(status_write)
        middle = self._child()
        found: list[int] = []
        while middle and not (found := children(middle)) and state(middle) not in "ZX":
            time.sleep(0)
        if not found:                       # no pid 0, ever: a signal to that would meet us
            os.close(out_read)
            os.close(status_read)
            raise Died("it ended before it began")
        return Forked(found[0], os.fdopen(out_read, "rb", buffering=0), status_read)

    def _child(self) -> int:
        """The pid, on this side, of the process that was just forked; 0 if it is not there.

        The kernel's list of children may miss one while another ends, as a worker before it may just do: so we look again.
        """
        inner, give_up = int(self._line()), time.monotonic() + FORK_SECONDS
        while not (found := next((p for p in children(self.pid) if _inner_pid(p) == inner), 0)) and time.monotonic() < give_up:
            time.sleep(1e-3)
        return found

    def keeper(self) -> Keeper:
        """A process that forks the ranks of one world, which share a network of their own."""
        self.ready()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.sock, [json.dumps({"keep": True, "isolate": self.backend != "none"}).encode()], [theirs.fileno()])
            pid = self._child()
        if not pid:
            ours.close()
            raise Died("the keeper of a world ended before it began")
        return Keeper(self.backend, ours, pid)

    def close(self) -> None:
        self.sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Keeper(WarmParent):
    """The trusted process of one world: it made the world's network, forks its ranks, and holds the point where they meet."""

    kept = True

    def __init__(self, backend: str, sock: socket.socket, pid: int) -> None:
        self.backend, self.sock, self.pid = backend, sock, pid
        self._is_ready = False
        self.ready()

    def meet(self, size: int) -> list[dict[str, str]]:
        """What each rank must find in its environment. To be asked once, after the last fork."""
        self.sock.sendall(json.dumps({"meet": size}).encode())
        environments: list[dict[str, str]] = json.loads(self._line())
        return environments

    def close(self) -> None:
        """Let go of it; it ends when its channel is closed, and its ranks with it."""
        self.sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
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


def state(pid: int | str) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return chr(stat.read().rpartition(b")")[2].split()[0][0])
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def start(backend: str, setup: dict[str, Any], threads: int, passed: list[int], warm: bool = False,
          hidden: Sequence[str] = (), gpu: int | None = None) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start worker.py, jailed or not. Returns the process, and the pids, on this side, of the first process of the jail, which all others
    end with, and of the worker itself.

    In the jail a stub stands in place of each `hidden` library: its code cannot be read, mapped or imported. A `gpu` comes
    with its device files.
    """
    environment, files = threads_environment(threads) | devices.environment(gpu), _files()
    status_read = -1
    if backend == "bubblewrap":
        command = _bubblewrap(files, hidden, [] if gpu is None else devices.nodes())
        if warm:                        # it makes namespaces for its children, which then drop everything
            command += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
            command += ["--cap-add", "CAP_NET_ADMIN"] if "horovod.tensorflow" in setup["preload"] else []       # for their loopback
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
        return process, process.pid, process.pid
    os.close(status_write)
    with os.fdopen(status_read) as status:
        text = status.read()
    first = pid = json.loads(text)["child-pid"] if text.strip() else process.pid
    if "--as-pid-1" not in command:
        while not (found := children(first)) and state(first) not in "ZX":
            time.sleep(0)
        pid = found[0] if found else first
    return process, first, pid
