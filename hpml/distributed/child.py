"""What a forked rank does: take its place (folder, environment, cores, threads, output), then run its script or its function."""

from __future__ import annotations

import atexit
import builtins
import os
import pickle
import random
import sys
import tempfile
import threading
import traceback
import types
from pathlib import Path
from typing import Any, TypedDict


class Spec(TypedDict, total=False):
    """One rank's task. `script` runs like `python script args`; with `fresh` in a new interpreter; otherwise `call` is run.

    `call` is a pickle of (function, arguments); its pickled value replaces the spec in the file that brought it.
    """

    script: str
    args: list[str]
    fresh: bool
    call: bytes
    path: list[str]
    cwd: str
    env: dict[str, str]
    cores: list[int]
    threads: int


def run(spec_fd: int, out: int, report: int) -> int:
    """The life of a rank; returns its exit status."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for fd in (1, 2):
        os.dup2(out, fd)
    os.close(out)
    with os.fdopen(spec_fd, "r+b", closefd=False) as f:
        spec: Spec = pickle.load(f)
    os.chdir(spec["cwd"])
    os.environ.clear()
    os.environ.update(spec["env"], HPML_REPORT_FD=f"{report}:{os.fstat(report).st_ino}")
    if spec["cores"]:
        os.sched_setaffinity(0, spec["cores"])
    os.set_inheritable(report, True)
    if spec.get("fresh"):
        os.close(spec_fd)
        os.environ["PYTHONUNBUFFERED"] = "1"
        os.execv(sys.executable, [sys.executable, spec["script"], *spec["args"]])
    _refresh(spec["threads"])
    os.set_inheritable(spec_fd, False)
    try:
        if "script" in spec:
            _script(spec["script"], spec["args"])
        else:
            _call(spec, spec_fd)
        code = 0
    except SystemExit as e:
        code = _status(e)
    except BaseException as e:
        _tell(e)
        code = 1
    return _finish(code)


def _refresh(threads: int) -> None:
    """Replace what a fork copies and should not: text streams (made for other files), random states, temporary folder, thread limits."""
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    tempfile.tempdir = None
    random.seed()
    if "numpy" in sys.modules:
        import numpy as np
        np.random.seed()
        if threads:
            from threadpoolctl import threadpool_limits
            threadpool_limits(threads)                  # the libraries are loaded, so OMP_NUM_THREADS comes too late for them


def _script(script: str, args: list[str]) -> None:
    sys.argv = [script, *args]
    sys.path.insert(0, str(Path(script).resolve().parent))
    script = os.path.abspath(script)
    main = types.ModuleType("__main__")                 # stays the main module, unlike runpy's: its threads and exit handlers need it
    main.__file__, main.__builtins__ = script, builtins     # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    exec(compile(Path(script).read_bytes(), script, "exec"), main.__dict__)


def _call(spec: Spec, answer: int) -> None:
    sys.path[:] = spec["path"]
    function, args = pickle.loads(spec["call"])
    value = pickle.dumps(_plain(function(*args)))
    os.ftruncate(answer, 0)
    os.pwrite(answer, value, 0)


def _plain(value: Any) -> Any:
    """Tensors and variables become NumPy arrays, so that the caller needs no framework to read the answer."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    return value.numpy() if hasattr(value, "numpy") else value


def _status(end: SystemExit) -> int:
    """What the interpreter makes of `sys.exit(…)`."""
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _tell(error: BaseException) -> None:
    """The traceback as the script's own: without the frames that lead into it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    if "horovod.tensorflow" in sys.modules:
        from hpml.distributed.collectives import explain_failure
        if sentence := explain_failure(error):
            print(sentence, file=sys.stderr)
            return
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    except Exception:
        traceback.print_exception(error)


def _finish(code: int) -> int:
    """As at the end of an interpreter, short of tearing down the frameworks."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException as e:
        _tell(e)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    return code
