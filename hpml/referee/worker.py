"""The jailed worker: runs one student's (or a baseline's) cells and calls one function in them.

Started as a script with the protocol module beside it and one JSON argument. It confines itself before any foreign code
runs: unprivileged user, no new privileges, resource limits, pinned cores. After that nothing it says is believed: the referee
reads its outputs from its frozen memory, its time from the kernel, and compares everything with the oracle.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import linecache
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import traceback
import types
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import protocol  # type: ignore[import-not-found]

MAX_TEXT = 2000


def confine(setup: dict[str, Any]) -> None:
    """Give up privileges and set limits; from here on the process cannot get them back."""
    ctypes.CDLL(None, use_errno=True).prctl(38, 1, 0, 0, 0)                 # PR_SET_NO_NEW_PRIVS
    for name, limit in setup["limits"].items():
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
    if setup.get("uid") and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(setup["uid"], setup["uid"], setup["uid"])
        os.setresuid(setup["uid"], setup["uid"], setup["uid"])
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)                     # PR_SET_PDEATHSIG, which a change of user clears
    if setup.get("uid"):
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()     # _LINUX_CAPABILITY_VERSION_3
        ctypes.CDLL(None).capset(header, nothing)                               # in a user namespace no other uid is left to go to
    if setup["cores"]:
        os.sched_setaffinity(0, setup["cores"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    tempfile.tempdir = None
    if not setup["processes"]:
        import seccomp  # type: ignore[import-not-found]
        seccomp.install(bool(setup.get("rank")))
    sys.path.pop(0)


def plain(text: str) -> str:
    """Text that can be written: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


def describe(error: BaseException, cell: str, source: str) -> dict[str, Any]:
    """An exception as data: type, message, and the line in the student's cell where it happened."""
    line = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith("<cell "):
            cell, line = frame.f_code.co_filename[6:-1], number
    if isinstance(error, SyntaxError):
        line = error.lineno
    rows = linecache.getlines(f"<cell {cell}>") or source.splitlines()
    text = rows[line - 1].strip() if line and line <= len(rows) else ""
    return {"type": type(error).__name__, "message": plain(str(error)[:MAX_TEXT]), "cell": cell, "line": line, "text": plain(text[:200]),
            "name": getattr(error, "name", None) if isinstance(error, NameError) else None}


class Worker:
    def __init__(self, sock: socket.socket, arena: mmap.mmap, np: Any, ops: Any = None) -> None:
        self.sock, self.arena, self.np = sock, arena, np
        main = types.ModuleType("__main__")             # as in a notebook, so that pickle, dataclasses and enum find their module
        sys.modules["__main__"] = main
        self.namespace = main.__dict__
        self.function: Any = None
        self.calls: list[tuple[Any, ...]] = []
        self.outputs: list[Any] = []
        self.base = np.frombuffer(arena, np.uint8).__array_interface__["data"][0]
        self.sources: dict[str, str] = {}
        if ops is not None:                             # before any foreign code runs
            self.to_device, self.to_host, self.flat = ops.convert_to_tensor, ops.convert_to_numpy, ops.ravel
        self.tensors = ops is not None
        self.comm: Any = None                           # makes what a rank of a simulated world is called with

    def load(self, header: dict[str, Any]) -> dict[str, Any]:
        """Run cells one by one; then look up the function."""
        for name, source in header["cells"]:
            try:
                linecache.cache[f"<cell {name}>"] = (len(source), None, source.splitlines(True), f"<cell {name}>")
                exec(compile(source, f"<cell {name}>", "exec", dont_inherit=True), self.namespace)
            except BaseException as error:                # the student's: reported, whatever it is
                return {"failed": describe(error, name, source), "stage": "load"}
        wanted = header["function"]
        self.function = self.namespace.get(wanted)
        if not callable(self.function):
            return {"failed": {"type": "Missing", "message": wanted, "cell": wanted, "line": None, "text": "", "name": None},
                    "stage": "load"}
        return {"loaded": True}

    def prepare(self, header: dict[str, Any]) -> dict[str, Any]:
        """Build the arguments as arrays over the shared arena, and touch every page of it once."""
        self.outputs.clear()
        self.calls = [tuple(self.argument(a) for a in call) for call in header["calls"]]
        for call in self.calls:
            for a in call:
                if isinstance(a, self.np.ndarray) and a.size:
                    a.reshape(-1).view(self.np.uint8)[::4096].sum()
                elif hasattr(a, "dtype"):               # a tensor: wait until it is on its device
                    self.to_host(self.flat(a)[:1])
        gc.collect()
        return {"prepared": len(self.calls)}

    def argument(self, spec: dict[str, Any]) -> Any:
        if "value" in spec:
            return spec["value"]
        if "comm" in spec:
            return self.comm(self.sock, *spec["comm"])
        dtype = self.np.dtype(spec["dtype"])
        count = 1
        for n in spec["shape"]:
            count *= n
        array = self.np.frombuffer(self.arena, dtype, count, spec["offset"]).reshape(spec["shape"])
        return self.to_device(array) if self.tensors else array

    def join(self, environment: dict[str, str]) -> dict[str, Any]:
        """Become a rank of a world of Horovod's, which may have no other rank."""
        os.environ.update(environment)
        import horovod.tensorflow as hvd
        hvd.init()
        return {"joined": hvd.rank()}

    def run(self) -> dict[str, Any]:
        """All prepared calls; the outputs stay alive until they have been read."""
        outputs, function = self.outputs, self.function
        try:
            for call in self.calls:
                outputs.append(self.fetch(function(*call)) if self.tensors else function(*call))
        except BaseException as error:                    # the student's: reported, whatever it is
            return {"failed": describe(error, "", ""), "stage": "call"}
        return {"done": [self.output(o) for o in outputs]}

    def fetch(self, value: Any) -> Any:
        """A result on the host, which waits for the device to have computed it."""
        if type(value) is tuple:
            return tuple(self.fetch(v) for v in value)
        return self.to_host(value) if hasattr(value, "dtype") and not isinstance(value, self.np.generic) else value

    def output(self, value: Any) -> Any:
        """Where a result lies in memory; the referee reads it from there while this process is frozen."""
        if type(value) is tuple:
            return [self.output(v) for v in value]
        if type(value) is self.np.ndarray:
            return {"shape": value.shape, "dtype": value.dtype.str, "strides": value.strides,
                    "address": value.__array_interface__["data"][0]}
        if type(value) in (int, float) or isinstance(value, (self.np.floating, self.np.integer)):
            return {"number": float(value), "type": type(value).__name__}
        return {"type": type(value).__name__}


def serve(setup: dict[str, Any]) -> None:
    """Confine this process, then answer the referee until it closes the channel."""
    sock = socket.socket(fileno=setup["socket"])
    arena = mmap.mmap(setup["arena"], setup["arena_bytes"])
    comm: Any = None
    if setup.get("rank"):
        import communicator  # type: ignore[import-not-found]
        comm = communicator.comm
    confine(setup)
    for module in setup["preload"]:
        __import__(module)
    import numpy as np

    ops = importlib.import_module("keras.ops") if setup.get("tensors") else None
    worker = Worker(sock, arena, np, ops)
    worker.comm = comm
    gc.freeze()                                             # what is there already need not be looked at before every block
    protocol.send(sock, {"ready": worker.base})
    while True:
        try:
            header, _ = protocol.receive(sock, max_header=protocol.MAX_SENT)
        except protocol.Closed:
            return
        if "load" in header:
            answer = worker.load(header["load"])
        elif "prepare" in header:
            answer = worker.prepare(header["prepare"])
        elif "go" in header:
            answer = worker.run()
        elif "join" in header:
            answer = worker.join(header["join"])
        else:
            worker.outputs.clear()
            answer = {"released": True}
        sys.stdout.flush()
        protocol.send(sock, answer)


def main() -> None:
    setup = json.loads(sys.argv[1])
    if setup.get("warm"):
        import warm  # type: ignore[import-not-found]
        warm.parent(setup, serve)
    else:
        serve(setup)


if __name__ == "__main__":
    main()
