"""The same function on real processes: mpi4py over the Open MPI that comes with the course's packages.

    done = run_mpi(my_allreduce, [(x0,), (x1,)], np=2)
    done.results, done.seconds

`simulate` takes the same function and the same inputs. On real MPI a long message is sent only once its receiver is ready, so what
works there may hang here: after `timeout` seconds the ranks are ended and the message says so.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpml.distributed.simulation import RankError


class MPIError(RuntimeError):
    """Real ranks could not run; the message says what to do."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@dataclass(frozen=True)
class Done:
    """What each rank returned, and the seconds from the moment when all ranks were ready until the last had ended."""

    results: list[Any]
    seconds: float


def run_mpi(function: Callable[..., Any] | str, inputs: Sequence[tuple[Any, ...]], np: int | None = None, *, timeout: float = 60) -> Done:
    """Call function(comm, *inputs[rank]) on `np` processes of this machine, comm being mpi4py's own.

    function   a function (it travels by value, with the names that it uses), or source text: its `main`, else its last function
    inputs     one tuple of arguments for each rank; np, if given, is their number
    timeout    seconds until all ranks are ended
    Raises ValueError for inputs that do not fit, RankError if a rank's function raises, MPIError if MPI does not start or the time is over.
    """
    if np not in (None, len(inputs)) or not inputs:
        raise ValueError(f"np={np}, but there are inputs for {len(inputs)} ranks: one tuple of arguments for each rank")
    command = _mpiexec(len(inputs))
    with tempfile.TemporaryDirectory(prefix="hpml-mpi-") as name:
        folder = Path(name)
        (folder / "path").write_text("\n".join(p or os.getcwd() for p in sys.path), encoding="utf-8")
        (folder / "job").write_bytes(_by_value(function, list(inputs)))
        code, said = _watch([*command, sys.executable, "-m", "hpml.distributed.mpi", name], timeout, len(inputs))
        answers = {rank: pickle.loads(path.read_bytes()) for rank in range(len(inputs)) if (path := folder / f"rank{rank}").exists()}
    for rank, (result, problem, _) in answers.items():
        if problem:
            cause = result if isinstance(result, BaseException) else RuntimeError(problem.splitlines()[-1])
            if isinstance(cause, NotImplementedError):      # an exercise that is still open, as in simulate
                raise cause
            cause.add_note(problem)
            raise RankError(rank, len(inputs), cause) from cause
    if code or len(answers) < len(inputs):
        last = [line for line in said.splitlines() if line.strip(" -")][:6]
        raise MPIError(f"mpiexec ended with status {code}" + (":\n" + "\n".join(last) if last else ". See: hpml doctor"))
    return Done([answers[rank][0] for rank in range(len(inputs))], max(seconds for _, _, seconds in answers.values()))


def _mpiexec(ranks: int) -> list[str]:
    """The command that starts so many ranks here. Raises MPIError where there is none."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if not found:
        raise MPIError("there is no mpiexec here: install the course's packages again (./course), or use simulate(…)")
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    with_us = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []        # if we are killed, the ranks end too
    return [*with_us, found, *root, "--oversubscribe", "--bind-to", "none", "-np", str(ranks)]


def _by_value(function: Callable[..., Any] | str, inputs: list[tuple[Any, ...]]) -> bytes:
    import cloudpickle  # type: ignore[import-untyped]
    home = sys.modules.get(getattr(function, "__module__", None) or "")
    ours = isinstance(home, types.ModuleType) and home.__name__ != "__main__" and not home.__name__.startswith("hpml.")
    if ours:
        cloudpickle.register_pickle_by_value(home)
    try:
        return bytes(cloudpickle.dumps((function, inputs)))
    finally:
        if ours:
            cloudpickle.unregister_pickle_by_value(home)


def _watch(command: list[str], timeout: float, ranks: int) -> tuple[int, str]:
    """Exit status and output of mpiexec. Its whole family ends with it, also when we are interrupted. Raises MPIError after `timeout`."""
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    world = ("OMPI_", "PMIX_", "PRTE_RANK", "HOROVOD_")              # a world that we may be in ourselves
    environment = {k: v for k, v in os.environ.items() if not k.startswith(world)} | quiet
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True) as process:
        try:
            said, _ = process.communicate(timeout=timeout)
            return process.returncode, said
        except subprocess.TimeoutExpired:
            raise MPIError(f"the {ranks} ranks did not end within {timeout:g} s, and were ended. Does each wait for another? A long "
                           "message is sent only once its receiver is ready: where all send first, use Sendrecv") from None
        finally:
            if process.poll() is None:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """First a word, so that mpiexec takes its ranks with it; then force."""
    for order, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, order)
            process.communicate(timeout=seconds)
            return


def _rank(folder: Path) -> int:
    """What each process does: read the job, run it, leave the answer in a file. A rank that fails ends all."""
    sys.path[:] = (folder / "path").read_text(encoding="utf-8").split("\n")
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    function, inputs = pickle.loads((folder / "job").read_bytes())
    answer: tuple[Any, str, float]
    try:
        if isinstance(function, str):
            function = _compiled(function)
        comm.Barrier()
        began = MPI.Wtime()
        result = function(comm, *inputs[comm.rank])
        comm.Barrier()
        answer = result, "", MPI.Wtime() - began
    except BaseException as error:
        answer = error, traceback.format_exc(), 0.0
    (folder / f"part{comm.rank}").write_bytes(_picklable(answer))
    (folder / f"part{comm.rank}").rename(folder / f"rank{comm.rank}")
    if answer[1]:
        comm.Abort(1)
    return 0


def _compiled(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"__name__": "__ranks__"}
    exec(compile(source, "<source of run_mpi>", "exec"), names)
    functions = [value for value in names.values() if isinstance(value, types.FunctionType) and value.__module__ == "__ranks__"]
    if not functions:
        raise ValueError("the source defines no function")
    chosen: Callable[..., Any] = names.get("main", functions[-1])
    return chosen


def _picklable(answer: tuple[Any, str, float]) -> bytes:
    import cloudpickle
    try:
        done = bytes(cloudpickle.dumps(answer))
        pickle.loads(done)                                  # an exception may be written and yet not be read
        return done
    except Exception as error:
        return pickle.dumps((None, answer[1] or f"the result cannot leave its process: {error}", 0.0))


if __name__ == "__main__":
    sys.exit(_rank(Path(sys.argv[1])))
