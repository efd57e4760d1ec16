"""`hpml launch -np N SCRIPT` and `launch("train.py", np=2)`: run a script on N ranks of one Horovod world."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hpml import machine
from hpml.distributed import view
from hpml.distributed.ranks import LaunchError, Outcome, Run
from hpml.distributed.warm import Parent, specs, warm
from hpml.distributed.world import Rendezvous

KEPT_RUNS = 20


@dataclass
class Result:
    """What a run gave: `values` from report() (of several ranks the lowest counts), `ranks` the same rank by rank.

    `seconds` from the call to the end of the last rank, `first_output` to the first line of any rank; `logs` one file a rank.
    """

    values: dict[str, Any]
    seconds: float
    returncodes: list[int | None]
    logs: list[Path]
    ranks: list[dict[str, Any]] = field(default_factory=list, repr=False)
    first_output: float | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, default=str)


def launch(script: str | Path, np: int = 2, args: Sequence[Any] = (), *, timeout: float | None = None, logs: str | Path | None = None,
           warm_ranks: bool = True, pin: bool = True, threads: int | None = None, env: Mapping[str, str] | None = None,
           grace: float = 3.0, shown: view.View | bool = True) -> Result:
    """Run `script` on `np` ranks of this machine, like `python script args` in each; show what they say; end all of them, always.

    Args:
        script: a Python file; a relative path counts from the current folder, in which the ranks run.
        np: number of ranks. Each gets an equal share of the cores (at least one), and a GPU where there are GPUs.
        args: the script's arguments; they become text.
        timeout: seconds after which all ranks are ended.
        logs: folder for rank-0.log, rank-1.log, …; default: a folder in the cache (the last 20 runs are kept).
        warm_ranks: fork from a parent that has imported Keras and Horovod, kept for the next run. False: fresh interpreters.
        pin: keep each rank on its share of the cores; otherwise only its number of threads is limited.
        threads: threads of each rank; default: its share of the cores.
        env: further environment variables.
        grace: seconds that the other ranks have left when one fails.
        shown: False for no live view.

    Raises:
        LaunchError: bad input, a rank that failed, or time over; the message has the end of the failing rank's log.
    """
    began = time.monotonic()
    path = check(script, np, timeout)
    folder = log_folder(logs)
    parent = warm() if warm_ranks else Parent()
    seen = shown if isinstance(shown, view.View) else view.best(np) if shown else None
    try:
        with Rendezvous(np) as world, seen or nullcontext():
            todo = specs(world, f"launch-{os.getpid()}-{folder.name}", pin=pin, threads=threads, env=env)
            for spec in todo:
                spec["script"], spec["args"], spec["fresh"] = str(path), [str(a) for a in args], not warm_ranks
            with Run(parent, todo, timeout=timeout, grace=grace, logs=folder, line=seen.line if seen else None,
                     progress=seen.progress if seen else None) as run:
                run.outcome.began = began
                outcome = run.wait()
    finally:
        if not warm_ranks:
            parent.close()
    return finish(outcome, timeout)


def finish(outcome: Outcome, timeout: float | None) -> Result:
    """The result of a run that went well; otherwise LaunchError."""
    merged = {name: value for values in reversed(outcome.values) for name, value in values.items()}
    if problem := outcome.problem(timeout):
        error = LaunchError(problem)
        error.outcome = outcome
        raise error
    return Result(merged, round(outcome.seconds, 3), outcome.returncodes, outcome.logs, outcome.values, outcome.first_output)


def check(script: str | Path, np: int, timeout: float | None = None, most: int | None = None) -> Path:
    """The script as given, or LaunchError with what is wrong with the request. `most`: ranks that make sense."""
    path = Path(script)
    if path.is_dir():
        raise LaunchError(f"{path} is a folder: name the Python script in it")
    if not path.is_file():
        raise LaunchError(f"there is no script {path} in {Path.cwd()}")
    if np < 1:
        raise LaunchError(f"-np {np}: a run needs at least one rank")
    cores = len(os.sched_getaffinity(0))
    if np > (most or max(8, 4 * cores)):
        raise LaunchError(f"{np} ranks on {cores} cores would mostly wait for each other: at most {max(8, 4 * cores)} here; "
                          "more on a cluster, with --slurm")
    if timeout is not None and timeout <= 0:
        raise LaunchError(f"--timeout {timeout:g}: give a number of seconds above 0")
    return path


def log_folder(logs: str | Path | None) -> Path:
    """The folder for this run's logs, made if need be; in the cache the oldest runs are removed."""
    if logs is None:
        runs = machine.path().parent / "launch"
        kept = sorted(p for p in runs.glob("*-*-*") if p.is_dir()) if runs.is_dir() else []
        for old in kept[:-KEPT_RUNS + 1]:
            shutil.rmtree(old, ignore_errors=True)
        logs = runs / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    try:
        Path(logs).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise LaunchError(f"no folder for the logs: {e}") from None
    return Path(logs).resolve()


def main(argv: list[str]) -> int:
    """`hpml launch`."""
    parser = argparse.ArgumentParser(
        prog="hpml launch", description="Run a script on several ranks of one Horovod world, here or on a Slurm cluster.",
        usage="hpml launch [-np N] [options] SCRIPT [ARGS …]",
        epilog="Example: hpml launch -np 2 --timeout 600 train.py --epochs 3")
    parser.add_argument("-np", "--ranks", type=int, default=2, metavar="N", help="number of ranks; default 2")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end all ranks after this time")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="one log file for each rank; default: a folder in the cache")
    parser.add_argument("--json", action="store_true", help="print the result as JSON; the live view goes to stderr")
    parser.add_argument("--no-pin", action="store_true", help="do not keep each rank on its share of the cores")
    slurm = parser.add_argument_group("on a Slurm cluster")
    slurm.add_argument("--slurm", action="store_true", help="submit with sbatch, one Slurm task for each rank, and watch the job")
    slurm.add_argument("--partition")
    slurm.add_argument("--nodes", type=int, help="default: as Slurm likes")
    slurm.add_argument("--time", help="Slurm's own limit, such as 30 (minutes) or 2:00:00")
    slurm.add_argument("--gpus", type=int, metavar="N", help="GPUs for each rank")
    parser.add_argument("script", metavar="SCRIPT", help="a Python file that calls hvd.init()")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS", help="the script's own arguments")
    options = parser.parse_args(argv)
    live = view.best(max(1, options.ranks), to_stderr=options.json)
    if options.slurm:
        from hpml.distributed.slurm import launch_slurm
        signal.signal(signal.SIGTERM, signal.default_int_handler)       # as Ctrl-C: the job must not live on without its launcher
        result = launch_slurm(options.script, options.ranks, options.args, timeout=options.timeout, logs=options.logs, live=live,
                              partition=options.partition, nodes=options.nodes, time_limit=options.time, gpus=options.gpus)
    elif given := [f"--{n}" for n in ("partition", "nodes", "time", "gpus") if getattr(options, n) is not None]:
        raise LaunchError(f"{' and '.join(given)} only with --slurm")
    else:
        result = launch(options.script, options.ranks, options.args, timeout=options.timeout, logs=options.logs, warm_ranks=False,
                        pin=not options.no_pin, shown=live)
    if options.json:
        print(result.to_json())
    else:
        live.note(f"{options.ranks} ranks in {result.seconds:.1f} s. Logs: {result.logs[0].parent}")
        for name, value in result.values.items():
            print(f"{name}: {json.dumps(value)}")
    return 0
