"""`hpml launch --slurm`: one Slurm task for each rank. No MPI and no ssh between the nodes are needed.

sbatch runs `job` on the first node: it opens the rendezvous and starts the ranks with srun. Each task (`task`) finds its place in
Slurm's variables, runs the script and notes how it ended. Where the launcher runs, everything is read from the run's folder, which
must lie in a file system that the nodes share (a home does, on most clusters).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from hpml.distributed import view
from hpml.distributed.launcher import Result, check, finish, log_folder
from hpml.distributed.ranks import LaunchError, Lines, Outcome
from hpml.distributed.warm import environment
from hpml.distributed.world import Rendezvous

POLL_SECONDS, ASK_SECONDS = 0.1, 1.0        # looks into files, and questions to Slurm's controller
GONE_SECONDS = 60.0                         # to wait for a cancelled job to leave the queue
MOST_RANKS = 100_000


class Tail(Lines):
    """New lines of a file that others write."""

    def __init__(self, path: Path, take: Callable[[bytes], None]):
        super().__init__(take)
        self.path, self.at = path, 0

    def read(self) -> None:
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as f:
            f.seek(self.at)
            data = f.read()
            self.at += len(data)
            self.feed(data)


def ask(*command: str) -> str:
    """What one of Slurm's commands says; LaunchError with its complaint if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise LaunchError(f"there is no Slurm here ({command[0]} not found); without --slurm the ranks run on this machine") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{command[0]} did not answer within a minute: is Slurm's controller up? See: scontrol ping") from None
    if done.returncode:
        complaint = re.sub(rf"^{command[0]}: (error: )?", "", (done.stderr.strip().splitlines() or ["no reason given"])[-1])
        raise LaunchError(f"Slurm's {command[0]} refused: {complaint}")
    return done.stdout.strip()


class Job:
    """A submitted job, watched until it is over. Leaving the context cancels it if it is not."""

    def __init__(self, number: str, folder: Path, outcome: Outcome, live: view.View | None):
        self.number, self.folder, self.outcome, self.live = number, folder, outcome, live
        self.state, self.told, self.asked = "", "", 0.0
        self.tails: list[Tail] = []
        line, progress = (live.line, live.progress) if live else (None, None)
        for rank, log in enumerate(outcome.logs):
            self.tails += [Tail(log, lambda text, r=rank: outcome.said(r, text, line)),     # type: ignore[misc]
                           Tail(log.with_suffix(".jsonl"), lambda text, r=rank: outcome.reported(r, text, progress))]   # type: ignore[misc]

    def look(self) -> bool:
        """Read what is new; True once the job is over."""
        over = (self.folder / "ended").exists()
        if not over and time.monotonic() - self.asked > ASK_SECONDS:
            over = self.question()
        for tail in self.tails:
            tail.read()
        return over

    def question(self) -> bool:
        self.asked = time.monotonic()
        state = self.state = _field("JobState", shown := ask("scontrol", "--oneliner", "show", "job", self.number))
        now = state.lower() + (f" ({_field('Reason', shown)})" if state == "PENDING" else "")
        if now != self.told and self.live:
            self.live.note(f"Slurm job {self.number}: {now}")
        self.told = now
        return state not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT")

    def wait(self, timeout: float | None) -> None:
        """Until it is over. `timeout` counts from its start, not from its submission: a queue may be long."""
        stop_at: float | None = None
        while not self.look():
            if timeout and stop_at is None and (self.folder / "world.json").exists():
                stop_at = time.monotonic() + timeout
            if stop_at and time.monotonic() > stop_at:
                self.outcome.stopped = "timeout"
                return
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(LaunchError):
            if not (self.folder / "ended").exists():
                ask("scancel", self.number)
            until = time.monotonic() + GONE_SECONDS
            while not self.question() and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
        self.look()
        for tail in self.tails:
            tail.finish()
        ends = sorted((json.loads(p.read_text()) for p in self.folder.glob("rank-*.end")), key=lambda end: end["time"])
        for end in ends:
            self.outcome.returncodes[end["rank"]] = end["code"]
        self.outcome.failed = [end["rank"] for end in ends if end["code"]]
        self.outcome.seconds = time.monotonic() - self.outcome.began


def _field(name: str, shown: str) -> str:
    found = re.search(rf"\b{name}=(\S*)", shown)
    return found[1] if found else ""


def launch_slurm(script: str | Path, np: int, args: Sequence[Any] = (), *, timeout: float | None = None, logs: str | Path | None = None,
                 live: view.View | None = None, partition: str | None = None, nodes: int | None = None, time_limit: str | None = None,
                 gpus: int | None = None) -> Result:
    """Submit, watch and collect; see hpml.distributed.launcher.launch. `gpus`: for each rank. `timeout`: from the start of the job.

    Raises:
        LaunchError: bad input, no Slurm, a refused job, a rank that failed, time over, a job that was ended from elsewhere.
    """
    path = check(script, np, timeout, MOST_RANKS).absolute()
    if shutil.which("sbatch") is None:
        raise LaunchError("there is no Slurm here (sbatch not found); without --slurm the ranks run on this machine")
    folder = log_folder(logs)
    for old in folder.glob("rank-*"):
        old.unlink()
    for name in ("ended", "world.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "spec.json").write_text(json.dumps({"script": str(path), "args": [str(a) for a in args], "ranks": np}))
    (folder / "job.sh").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hpml.distributed.slurm job "{folder}"\n')
    wishes = {"--partition": partition, "--nodes": nodes, "--time": time_limit, "--gpus-per-task": gpus}
    number = ask("sbatch", "--parsable", f"--ntasks={np}", f"--job-name={path.stem}", f"--output={folder / 'slurm.log'}",
                 f"--chdir={Path.cwd()}", *(f"{k}={v}" for k, v in wishes.items() if v is not None), str(folder / "job.sh")).split(";")[0]
    outcome = Outcome.of(np, folder)
    with live or contextlib.nullcontext(), Job(number, folder, outcome, live) as job:
        job.wait(timeout)
    if None in outcome.returncodes and not outcome.failed and not outcome.stopped:
        log = (folder / "slurm.log").read_text(errors="replace").strip().splitlines() if (folder / "slurm.log").exists() else []
        raise LaunchError(f"Slurm ended job {number} ({job.state.lower()}) before its ranks were done"
                          + (":\n" + "\n".join(f"    {line}" for line in log[-10:]) if log else ""))
    return finish(outcome, timeout)


def source_address(target: str) -> str:
    """This machine's own address on the way to `target` (nothing is sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 9))
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str:
    """The network interface that has this address."""
    return next((name for name, found in psutil.net_if_addrs().items() if any(a.address == address for a in found)), "")


def hosts(nodes: str, tasks: str) -> list[tuple[str, int]]:
    """[(node, tasks), …] from Slurm's list of nodes and its tasks per node, such as "2(x3),1"."""
    names = ask("scontrol", "show", "hostnames", nodes).split()
    counts = [int(count) for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks) for _ in range(int(times or 1))]
    return list(zip(names, counts, strict=True))


def job(folder: Path) -> int:
    """On the first node of the job: the rendezvous, and srun."""
    np = json.loads((folder / "spec.json").read_text())["ranks"]
    names = ask("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
    address = "127.0.0.1"
    if len(names) > 1:
        address = source_address(_field("NodeAddr", ask("scontrol", "--oneliner", "show", "node", names[-1])))
    with Rendezvous(np, address=address) as world:
        (folder / "world.json").write_text(json.dumps({"address": address, "port": world.port}))
        code = subprocess.call(["srun", f"--ntasks={np}", "--distribution=block", "--kill-on-bad-exit=1", "--mpi=none", "--unbuffered",
                                f"--output={folder / 'rank-%t.log'}", sys.executable, "-m", "hpml.distributed.slurm", "task", str(folder)])
    (folder / "ended").write_text(str(code))
    return code


def task(folder: Path) -> int:
    """One rank: its place in the world, its script, its end."""
    spec, meet = (json.loads((folder / name).read_text()) for name in ("spec.json", "world.json"))
    get = os.environ.__getitem__
    rank, places = int(get("SLURM_PROCID")), hosts(get("SLURM_STEP_NODELIST"), get("SLURM_STEP_TASKS_PER_NODE"))
    world = Rendezvous(spec["ranks"], hosts=places, address=meet["address"], interface=interface_of(source_address(meet["address"])))
    world.port = meet["port"]
    place = world.environment(rank)
    share = int(os.environ.get("SLURM_CPUS_ON_NODE", 1)) // int(place["HOROVOD_LOCAL_SIZE"])
    cores = os.environ.get("SLURM_CPUS_PER_TASK", max(1, share))
    limits = {name: str(cores) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}
    env = {"TF_CPP_MIN_LOG_LEVEL": "1", "PYTHONUNBUFFERED": "1"} | environment() | limits | place \
        | {"HPML_REPORT_FILE": str(folder / f"rank-{rank}.jsonl")}
    process = subprocess.Popen([sys.executable, spec["script"], *spec["args"]], env=env, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    unfinished = folder / f".rank-{rank}.end"
    unfinished.write_text(json.dumps({"rank": rank, "code": code, "time": time.time()}))
    unfinished.rename(folder / f"rank-{rank}.end")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit({"job": job, "task": task}[sys.argv[1]](Path(sys.argv[2])))
