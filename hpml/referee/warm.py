"""The warm parent: a process that has imported a framework, run nothing, and is forked and then jailed for each job.

Importing TensorFlow costs seconds; forking a process that has imported it, a fraction of one. Forking after the first operation
hangs the child, so the parent never runs one. It lives in the jail already (read-only system, no course, no network); each child
gets process, network, ipc and mount namespaces and a /tmp of its own before it drops its privileges.
Ranks that train together share a network namespace, and nothing else: a keeper in between makes it and holds their meeting point.
This file lies beside worker.py in the jail and needs the standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
BIND, PRIVATE, RECURSIVE, READONLY, NOSUID, NODEV = 1 << 12, 1 << 18, 1 << 14, 1, 2, 4

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(kind: str, where: str, flags: int, options: str = "") -> None:
    checked(libc.mount(kind.encode(), where.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()), f"mount {where}")


def bind(source: str, where: str) -> None:
    checked(libc.mount(source.encode(), where.encode(), None, ctypes.c_ulong(BIND | RECURSIVE), None), f"bind {where}")


def child(job: dict[str, Any], fds: list[int], serve: Callable[[dict[str, Any]], None]) -> None:
    """Process 1 of a fresh pid namespace: the worker of one job."""
    if job["isolate"]:
        checked(libc.mount(None, b"/", None, ctypes.c_ulong(PRIVATE | RECURSIVE), None), "private mounts")
        mount("proc", "/proc", READONLY | NOSUID | NODEV)
        private = f"mode=1777,size={job['tmp']}"
        mount("tmpfs", "/dev/shm", NOSUID | NODEV, private)
        kept = [(path, f"/dev/shm/{n}") for n, path in enumerate(job["under_tmp"])]
        for path, aside in kept:                        # a course that is itself in /tmp must still find its Python
            os.mkdir(aside)
            bind(path, aside)
        mount("tmpfs", "/tmp", NOSUID | NODEV, private)
        for path, aside in kept:
            os.makedirs(path)
            bind(aside, path)
            checked(libc.umount2(aside.encode(), 2), f"umount {aside}")
            os.rmdir(aside)
        os.chdir("/tmp")
        name = b"127.0.0.1" if job["kept"] else b"jail"     # Gloo looks up its host's name, and a jail knows none but addresses
        libc.sethostname(name, len(name))
    job["socket"], job["arena"], out, status = fds
    os.close(status)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)       # of its own: what is set on a shared one, others would see
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    serve(job)


def between(job: dict[str, Any], fds: list[int], serve: Callable[[dict[str, Any]], None]) -> None:
    """Makes the namespaces, waits for the worker, and reports how it ended: the referee is not its parent."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if job["isolate"]:
        checked(libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWPID | (0 if job["kept"] else NEWNET)), "unshare")
    pid = os.fork()
    if pid == 0:
        child(job, fds, serve)
        os._exit(0)
    for fd in fds[:3]:
        os.close(fd)
    _, ended = os.waitpid(pid, 0)
    os.write(fds[3], str(os.waitstatus_to_exitcode(ended)).encode())


def loopback_up() -> None:
    """Switch the network namespace's own loopback on."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))                       # SIOCSIFFLAGS, IFF_UP


def keep(job: dict[str, Any], fds: list[int], serve: Callable[[dict[str, Any]], None]) -> None:
    """The keeper of one world: makes its network, then forks its ranks. It never runs foreign code, and no rank can see it."""
    if job["isolate"]:
        checked(libc.unshare(NEWNET), "unshare")
        loopback_up()
    forks(socket.socket(fileno=fds[0]), serve)


def meeting_point(size: int) -> list[dict[str, str]]:
    """Open the rendezvous of a world of Horovod's; what each rank must find in its environment. After all forks: it has a thread."""
    import world  # type: ignore[import-not-found]
    rendezvous = world.Rendezvous(size).start()
    return [rendezvous.environment(rank) for rank in range(size)]


def parent(setup: dict[str, Any], serve: Callable[[dict[str, Any]], None]) -> None:
    """Import what is to be warm, then fork for every request until the referee goes."""
    for module in setup["preload"]:
        __import__(module)
    if "horovod.tensorflow" in setup["preload"]:
        import world  # noqa: F401
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()                             # else a child's first collection would write to, and so copy, every page of the framework
    forks(socket.socket(fileno=setup["socket"]), serve)


def forks(sock: socket.socket, serve: Callable[[dict[str, Any]], None]) -> None:
    """Answer the referee on this channel, one line a request, until it closes it."""
    sock.sendall(b"ready\n")
    while True:
        data, fds, _, _ = socket.recv_fds(sock, 1 << 16, 4)
        if not data:
            return
        job = json.loads(data)
        if "meet" in job:
            sock.sendall(json.dumps(meeting_point(job["meet"])).encode() + b"\n")
            continue
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                libc.prctl(1, signal.SIGKILL, 0, 0, 0)          # PR_SET_PDEATHSIG: what is below ends with this process, frozen or not
                sock.close()
                (keep if "keep" in job else between)(job, list(fds), serve)
                code = 0
            finally:
                os._exit(code)
        for fd in fds:
            os.close(fd)
        sock.sendall(f"{pid}\n".encode())
