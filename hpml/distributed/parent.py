"""The parent of the ranks: a process that may have imported a framework but ran no operation, and is forked once per rank.

Importing TensorFlow, Keras and Horovod costs seconds, forking a process that has imported them a fraction of one. Forking after the
first operation hangs the child, so this process never runs one. It is also the one that looks after the ranks: each has a process
group of its own, orphans come back to it (it is a subreaper), and when its client goes away, however that happens, all of them are
killed. Started by `hpml.distributed.warm.Parent`; one socket brings jobs, one socket for each job brings ranks and takes their ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
IDLE_SECONDS = 1800.0           # a notebook that stays open over night does not keep a quarter of a gigabyte


class Job:
    """The ranks of one run: `ranks` maps a pidfd to (rank, pid) while that rank lives."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.ranks: dict[int, tuple[int, int]] = {}
        self.over = False

    def kill(self, number: int) -> None:
        for _, pid in self.ranks.values():              # not yet waited for, so the number is still theirs
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)


class Server:
    """Forks, watches and ends ranks until the client goes."""

    def __init__(self, sock: socket.socket, client: int, libc: ctypes.CDLL):
        self.sock, self.libc, self.jobs = sock, libc, set[Job]()
        self.watch = selectors.DefaultSelector()
        self.watch.register(sock, selectors.EVENT_READ, self.new_job)
        # A copy of the client's socket may live on in one of its own children: its death counts, not only the end of the stream.
        self.watch.register(os.pidfd_open(client), selectors.EVENT_READ, self.client_gone)

    def serve(self) -> None:
        try:
            while ready := self.watch.select(None if self.jobs else IDLE_SECONDS):
                for key, _ in ready:
                    act: Callable[[], None] = key.data
                    act()
        except EOFError:
            pass
        finally:
            for job in self.jobs:
                job.kill(signal.SIGKILL)
            self.kill_strays()

    def client_gone(self) -> None:
        raise EOFError

    def new_job(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, 64, 1)
        except ConnectionError:                         # gone without having read our "ready"
            data = b""
        if not data:
            raise EOFError
        job = Job(socket.socket(fileno=fds[0]))
        job.sock.set_inheritable(False)
        self.jobs.add(job)
        self.watch.register(job.sock, selectors.EVENT_READ, lambda: self.request(job))

    def request(self, job: Job) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(job.sock, 4096, 3)
        except ConnectionError:
            data, fds = b"", []
        if not data:                                    # the client is done with this job, or has given it up
            self.watch.unregister(job.sock)
            job.over = True
            job.kill(signal.SIGKILL)
            self.close(job)
        elif "kill" in (message := json.loads(data)):
            job.kill(message["kill"])
        else:
            self.start(job, message["rank"], fds)
            for fd in fds:
                os.close(fd)

    def start(self, job: Job, rank: int, fds: list[int]) -> None:
        mine = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() == mine:
                    self.forget()
                    from hpml.distributed.child import run
                    code = run(*fds)
            except BaseException:                       # not the script's fault: those are told by run() itself
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)
        handle = os.pidfd_open(pid)
        job.ranks[handle] = rank, pid
        self.watch.register(handle, selectors.EVENT_READ, lambda: self.ended(job, handle))

    def forget(self) -> None:
        """In a fresh child: leave the parent's group and what belongs to the parent alone."""
        os.setsid()
        for key in list(self.watch.get_map().values()):
            os.close(key.fd)
        self.watch.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        gc.unfreeze()

    def ended(self, job: Job, handle: int) -> None:
        rank, pid = job.ranks[handle]
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError):   # what it left behind in its group; the number is not free before waitpid
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        self.watch.unregister(handle)
        os.close(handle)
        del job.ranks[handle]
        if not any(j.ranks for j in self.jobs):
            self.kill_strays()
        with contextlib.suppress(OSError):
            job.sock.send(json.dumps({"ended": [rank, os.waitstatus_to_exitcode(status)]}).encode())
        self.close(job)

    def close(self, job: Job) -> None:
        if job.over and not job.ranks:
            job.sock.close()
            self.jobs.discard(job)

    def kill_strays(self) -> None:
        """Orphans of ranks that left their group. Only called while no rank is to live on."""
        while strays := psutil.Process().children():    # killing one may bring its children up
            for stray in strays:
                with contextlib.suppress(psutil.NoSuchProcess):
                    stray.kill()
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stray.pid, 0)


def main() -> None:
    """`python -m hpml.distributed.parent FD [MODULE…]`: import the modules, say "ready", serve."""
    client = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is for the client, which then ends the ranks in order
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    try:
        for module in [*sys.argv[2:], "hpml.distributed.child"]:
            importlib.import_module(module)
    except Exception as e:
        sock.send(json.dumps({"failed": f"{type(e).__name__}: {e}"[:2000]}).encode())
        return
    gc.collect()
    gc.freeze()                                         # what is imported stays shared with the ranks
    sock.send(json.dumps({"ready": os.getpid()}).encode())
    Server(sock, client, libc).serve()


if __name__ == "__main__":
    main()
