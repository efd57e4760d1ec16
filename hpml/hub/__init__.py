"""`hpml hub`: a JupyterHub on this machine, to try the course out with a class: one instructor, some students, on loopback.

Brings the class folder up to date, gets the proxy once (npm), then runs the referee and JupyterHub until Ctrl-C, and leaves nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from hpml import course
from hpml.course import CourseError

NODE = course.ROOT / ".hub"                             # where the proxy is installed; ignored by git
START_SECONDS = 240                     # a busy machine is given its time
STOP_SECONDS = 60


def proxy() -> list[str]:
    """configurable-http-proxy's command; installed with npm at the first call, at the version pinned in deploy/hub. Raises CourseError."""
    pins = course.ROOT / "deploy" / "hub"
    script = NODE / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    if not (node := shutil.which("node")):
        raise CourseError("the hub's proxy needs Node.js, which is not here: sudo apt-get install nodejs npm")
    lock, kept = (pins / "package-lock.json").read_bytes(), NODE / "package-lock.json"
    if not script.is_file() or not kept.is_file() or kept.read_bytes() != lock:
        if not (npm := shutil.which("npm")):
            raise CourseError("the hub's proxy comes through npm, which is not here: sudo apt-get install npm")
        print("Getting the hub's proxy with npm (once) …", flush=True)
        NODE.mkdir(exist_ok=True)
        shutil.copy(pins / "package.json", NODE)
        (NODE / "package-lock.json").write_bytes(lock)
        done = subprocess.run([npm, "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=NODE,
                              capture_output=True, text=True)
        if done.returncode:
            kept.unlink()
            raise CourseError("npm could not get the hub's proxy; the first start needs a network. It said: "
                              + " ".join(done.stderr.split())[-300:])
    return [node, str(script)]


def size(text: str) -> int:
    """ "3G" or "800M" → bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG])i?B?", text.strip(), re.I)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory; write 3G or 800M")
    return int(float(found[1]) * (1 << (30 if found[2].upper() == "G" else 20)))


class Hub:
    """The processes of a running hub: `with Hub(...) as hub`, and at the end none of them is left."""

    def __init__(self, folder: Path, port: int, memory: int, cores: float, idle: int, queue: str = "") -> None:
        from hpml.hub.folder import ClassFolder
        from hpml.hub.limits import Groups
        self.groups = Groups(f"hpml-hub-{os.getpid()}")
        self.there, self.port = ClassFolder(folder), port
        self.url = f"http://127.0.0.1:{port}"
        self.command = proxy()
        self.run = Path(tempfile.mkdtemp(prefix="hpml-hub-"))           # short: a socket's path has about 100 characters
        self.run.chmod(0o755)
        others = ("JUPYTER", "HPML_REFEREE", "HPML_QUEUE", "PYTHONPATH")        # another hub's, where this is typed on one
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(others)} | {
            "HPML_ROOT": str(course.ROOT), "HPML_HUB": str(folder), "HPML_HUB_RUN": str(self.run), "HPML_HUB_PORT": str(port),
            "HPML_HUB_PROXY": "\n".join(self.command), "HPML_HUB_MEMORY": str(memory), "HPML_HUB_CORES": str(cores),
            "HPML_HUB_IDLE": str(idle), "HPML_HUB_GROUPS": self.groups.name, "HPML_HUB_QUEUE": queue,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        self.log = self.there.hub / "hub.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log: IO[bytes] | None = None

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        libc = ctypes.CDLL(None)
        started = subprocess.Popen([sys.executable, "-m", *command], env=self.environment, cwd=self.there.hub, stdin=subprocess.DEVNULL,
                                   stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=lambda: libc.prctl(1, signal.SIGTERM, 0, 0, 0))       # PR_SET_PDEATHSIG: it ends with us
        self._processes.append(started)
        return started

    def __enter__(self) -> Hub:
        self._log = self.log.open("wb")
        try:
            self._start("hpml.referee.server", "--socket", str(self.run / "referee.sock"))
            hub = self._start("jupyterhub", "--config", str(course.ROOT / "deploy" / "hub" / "jupyterhub_config.py"))
            self._wait(hub)
        except BaseException:
            self.close()
            raise
        return self

    def _wait(self, hub: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and hub.poll() is None:
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"{self.url}/hub/api/", timeout=5) as answer:
                    answer.read()
                if (self.run / "referee.sock").exists():
                    return
            time.sleep(0.1)
        last = " ".join(self.log.read_text(errors="replace").splitlines()[-3:])
        raise CourseError(f"the hub did not start; {self.log} says why. Its last lines: {last[-400:]}")

    def wait(self) -> int:
        """Until the hub ends by itself. Returns its exit status."""
        return self._processes[-1].wait()

    def close(self) -> None:
        """Stop the hub, which stops everybody's server and the proxy; then whatever is still there."""
        family = [p for process in self._processes if process.poll() is None for p in _family(process.pid)]
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        for left in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        psutil.wait_procs(family, timeout=5)
        for process in self._processes:
            process.wait()
        if self._log:
            self._log.close()
        shutil.rmtree(self.run, ignore_errors=True)
        self.groups.remove()

    def __exit__(self, *exc: object) -> None:
        self.close()


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [*first.children(recursive=True), first]
    except psutil.NoSuchProcess:
        return []


def _free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            raise CourseError(f"port {port} cannot be used ({e.strerror}); name another one with --port") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hpml hub", description="Run a JupyterHub with a class on this machine, to try the course out. Ctrl-C stops all of it.",
        epilog="Example: hpml hub --student ada --student grace --lab 04-conv-gemm")
    parser.add_argument("--to", type=Path, metavar="DIR", help="the class folder; default: .hub/class in the course")
    parser.add_argument("--port", type=int, default=8000, help="where people log in, on this machine only; default: 8000")
    parser.add_argument("--student", action="append", metavar="NAME", help="a student; may be repeated; default: amara and bilal")
    parser.add_argument("--lab", action="append", metavar="LAB", help="hand out only this lab; may be repeated; default: all of them")
    parser.add_argument("--memory", type=size, default=size("4G"), metavar="SIZE", help="for each student; default: 4G")
    parser.add_argument("--cores", type=float, default=1.0, metavar="N", help="processor cores for each student; default: 1")
    parser.add_argument("--idle", type=int, default=60, metavar="MINUTES", help="stop a server that nobody used for so long; default: 60")
    parser.add_argument("--queue", default="", metavar="ENGINE", help='where check(…, where="gpu") measures: slurm, tls://… of a Dask '
                        "scheduler, or local (this machine); default: nowhere")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: list[str]) -> int:
    """Run `hpml hub` until it is interrupted. Returns the exit status."""
    options = _parser().parse_args(argv)
    from hpml.hub import folder as place
    from hpml.referee.jail import bubblewrap_problem
    if problem := bubblewrap_problem():
        raise CourseError(f"the hub keeps students apart with bubblewrap, but {problem}")
    if options.queue:
        from hpml.hub import checks
        checks.starter(options.queue)
    _free(options.port)
    to = Path(os.path.abspath((options.to or place.default()).expanduser()))
    labs = [lab for lab in course.load().ready() if not options.lab or lab.lab in {course.load().lab(n).lab for n in options.lab}]
    there = place.ClassFolder(to)
    proxy()                                             # before anything else takes time
    there.make(options.student or ([] if there.people() else ["amara", "bilal"]), labs)
    signal.signal(signal.SIGTERM, _interrupt)
    with Hub(to, options.port, options.memory, options.cores, options.idle * 60, options.queue) as hub:
        print(f"The hub is at {hub.url}, for browsers on this machine. Log in as:", flush=True)
        for person in there.people().values():
            print(f"  {person.name:20}{person.password}", flush=True)
        print(f"The instructor's course folder: {there.course}. After collecting: hpml grade {labs[0].lab}, in a terminal there.")
        if not hub.groups.version:
            print("This account may not make control groups: --memory holds for each process, and --cores is not enforced.")
        if os.getuid() != 0:
            print("Started without root: students have one user number, so a file in the exchange is as much one's as another's.")
        print(f"Log: {hub.log}. Ctrl-C stops everything.", flush=True)
        try:
            status = hub.wait()
        except KeyboardInterrupt:
            print("\nStopping …", flush=True)
            return 0
    print(f"hpml hub: JupyterHub ended by itself (status {status}); {hub.log} says why.", file=sys.stderr)
    return 1
