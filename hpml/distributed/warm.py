"""Warm ranks: forked from a parent that has imported Keras and Horovod, so that a world of two starts in a fraction of a second."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpml.distributed.child import Spec
from hpml.distributed.ranks import LaunchError, Run
from hpml.distributed.world import OURS, Rendezvous

FRAMEWORKS = ("keras", "horovod.tensorflow", "threadpoolctl")
_READ_AT_IMPORT = ("TF_", "KERAS_", "XLA_", "CUDA_", "NVIDIA_", "LD_", "PYTHON", "OPENBLAS_", "MKL_")


class Parent:
    """The client's end of a parent process (hpml/distributed/parent.py) with `modules` imported."""

    def __init__(self, modules: Sequence[str] = ()):
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "hpml.distributed.parent", str(theirs.fileno()), *modules]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "1"} | environment()
        with theirs:                                    # a session of its own: a Ctrl-C in the terminal is the client's to handle
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, start_new_session=True, env=quiet)
        self.owner, self.key, self.failed = os.getpid(), _key(), ""

    def usable(self) -> bool:
        """Alive, ours (not inherited through a fork), and imported under the settings of now."""
        return self.owner == os.getpid() and not self.failed and self.process.poll() is None and self.key == _key()

    def job(self) -> socket.socket:
        """A channel for the ranks of one run; they start as soon as the parent has imported its modules."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self.sock, [b"job"], [theirs.fileno()])
            except OSError:
                mine.close()
                raise LaunchError(self.obituary()) from None
        return mine

    def wait(self) -> None:
        """Until the modules are imported."""
        with contextlib.suppress(ConnectionError):
            if b"ready" in self.sock.recv(4096, socket.MSG_PEEK):
                return
        raise LaunchError(self.obituary())

    def obituary(self) -> str:
        """Why there are no ranks to be had from it."""
        for _ in range(3):                              # at first a socket may only say that its peer left without reading all
            with contextlib.suppress(OSError, ValueError):
                self.failed = json.loads(self.sock.recv(4096, socket.MSG_DONTWAIT)).get("failed", self.failed)
        if self.failed:
            return f"the ranks could not start: {self.failed}. See: hpml doctor"
        return "the process that looks after the ranks was killed, and they with it (perhaps memory has run out); run it again"

    def close(self) -> None:
        self.sock.close()
        if self.owner == os.getpid():
            self.process.wait()


_lock = threading.Lock()
_parent: Parent | None = None


def warm(wait: bool = False) -> Parent:
    """Start the warm parent, if it is not there yet; it imports in the background. `wait`: until it is ready (seconds).

    It lives as long as this process, goes with it, and also goes after half an hour without work.
    """
    global _parent
    with _lock:
        if _parent is None or not _parent.usable():
            cool()
            _parent = Parent(FRAMEWORKS)
            atexit.register(cool)
        parent = _parent
    if wait:
        parent.wait()
    return parent


def cool() -> None:
    """End the warm parent, if there is one."""
    global _parent
    if _parent is not None:
        _parent.close()
        _parent = None
        atexit.unregister(cool)


def _key() -> dict[str, str]:
    """Settings that frameworks read when they are imported: a change asks for a new parent."""
    return {k: v for k, v in os.environ.items() if k.startswith(_READ_AT_IMPORT)}


def environment() -> dict[str, str]:
    """This process's environment without any world that it may itself belong to."""
    return {k: v for k, v in os.environ.items() if k not in OURS}


def places(np: int, pin: bool = True) -> list[tuple[list[int], int]]:
    """(cores, threads) of each of `np` ranks on this machine: equal shares of the cores that we may use, at least one each."""
    ours = sorted(os.sched_getaffinity(0))
    share = max(1, len(ours) // np)
    return [([ours[(rank * share + i) % len(ours)] for i in range(share)] if pin else [], share) for rank in range(np)]


def gpus() -> list[str]:
    """The GPUs that ranks may be given: those of CUDA_VISIBLE_DEVICES, or all that the driver shows."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [g for g in visible.split(",") if g]
    return _all_gpus()


@functools.cache                                        # asking the driver may take a second
def _all_gpus() -> list[str]:
    try:
        listed = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def specs(world: Rendezvous, tag: str, *, pin: bool = True, threads: int | None = None, env: Mapping[str, str] | None = None,
          cwd: str | None = None) -> list[Spec]:
    """What the ranks of a world on this machine have in common: place, threads, environment; the task itself is added by the caller."""
    devices = gpus()
    found: list[Spec] = []
    for rank, (cores, share) in enumerate(places(world.size, pin)):
        count = threads or share
        limits = {name: str(count) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
                                                "TF_NUM_INTEROP_THREADS")}
        device = {"CUDA_VISIBLE_DEVICES": devices[rank % len(devices)]} if devices else {}
        variables = {"TF_CPP_MIN_LOG_LEVEL": "1"} | environment() | limits | device | world.environment(rank) \
            | {"HPML_LAUNCH": tag} | dict(env or {})
        found.append(Spec(cwd=cwd or os.getcwd(), env=variables, cores=cores, threads=count))
    return found


def run_ranks(function: Callable[..., Any] | str, np: int, args: Sequence[Any] = (), *, timeout: float | None = 120, grace: float = 3.0,
              env: Mapping[str, str] | None = None, pin: bool = False) -> list[Any]:
    """Run a function on `np` warm ranks, of one Horovod world, and return each rank's value, in the order of ranks.

    Args:
        function: a function (it travels by value, with the names that it uses), or source text that defines a function `main`.
            It calls `hvd.init()` itself, if it needs Horovod; tensors in its value come back as NumPy arrays.
        np: number of ranks.
        args: its arguments, the same on every rank. A rank finds its number in `hvd.rank()` or in the environment, HPML_RANK.
        timeout: seconds after which all ranks are ended.
        grace: seconds that the other ranks have left when one fails.
        env: further environment variables.
        pin: one share of the cores for each rank; otherwise only the number of threads is limited.

    Raises:
        LaunchError: a rank failed, or the time is over; `.outcome` has return codes and the end of every rank's output.
    """
    import cloudpickle  # type: ignore[import-untyped]

    home = sys.modules.get(getattr(function, "__module__", None) or "")
    by_value = isinstance(home, types.ModuleType) and home.__name__ != "__main__" and not home.__name__.startswith("hpml.")
    if by_value:
        cloudpickle.register_pickle_by_value(home)
    try:
        call = cloudpickle.dumps((_from_source, (function, tuple(args))) if isinstance(function, str) else (function, tuple(args)))
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(home)
    with Rendezvous(np) as world:
        todo = specs(world, f"call-{os.getpid()}", pin=pin, env=env)
        for spec in todo:
            spec["call"], spec["path"] = call, [p or os.getcwd() for p in sys.path]
        with Run(warm(), todo, timeout=timeout, grace=grace) as run:
            outcome = run.wait()
    if problem := outcome.problem(timeout):
        error = LaunchError(problem)
        error.outcome = outcome
        raise error
    return [pickle.loads(answer) for answer in outcome.answers]


def _from_source(source: str, args: tuple[Any, ...]) -> Any:
    names: dict[str, Any] = {"__name__": "__ranks__"}
    exec(compile(source, "<source of run_ranks>", "exec"), names)
    return names["main"](*args)
