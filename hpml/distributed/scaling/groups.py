"""The asking side of `hpml bench scaling`: worker processes that stand frozen except while one group of them does a block of steps."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from hpml import machine
from hpml.course import ROOT, CourseError
from hpml.distributed.world import Rendezvous

HERE = Path(__file__).parent
PEERS = ROOT / ".venv-peers" / "bin" / "python"     # where deploy/peers/requirements.lock is installed
PATIENCE = 180.0                                    # seconds for a start or a block, on a slow and busy machine
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
AT_OUR_END = ("setpriv", "--pdeathsig", "KILL")     # a frozen worker would outlive a benchmark that is killed
# A group is frozen for many seconds while others have their turn: its ranks must not take each other for lost.
HOROVOD = {"HOROVOD_STALL_CHECK_DISABLE": "1", "HOROVOD_GLOO_TIMEOUT_SECONDS": "600"}


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


class Group:
    """Worker processes that work together or side by side, each pinned to a core of its own and frozen between its blocks."""

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]]):
        """Start them; `ready` waits. `environments`: what each worker needs beside this process's own environment."""
        self.printed = [tempfile.TemporaryFile() for _ in environments]         # noqa: SIM115    closed by close()
        self.answers: list[IO[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HOROVOD_", "HPML_RANK", "TF_CONFIG"))}
        for core, extra, printed in zip(cores(), environments, self.printed, strict=False):
            end, pipe = os.pipe()
            self.answers.append(os.fdopen(end, "rb"))
            self.workers.append(subprocess.Popen(
                [*AT_OUR_END, "taskset", "--cpu-list", str(core), *command],
                stdin=subprocess.PIPE, stdout=printed, stderr=printed, pass_fds=[pipe],
                env={**clean, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **ONE_THREAD, **extra, "HPML_ANSWERS": str(pipe)},
                start_new_session=True))
            os.close(pipe)

    def ready(self) -> int:
        """Wait until all have started, freeze them; the number of the model's trainable parameters."""
        counts = {answer["parameters"] for answer in self._wait(len(self.workers))}
        self._signal(self.workers, signal.SIGSTOP)
        if len(counts) != 1:
            raise CourseError("the workers of a group do not have the same model")
        return int(counts.pop())

    def block(self, mode: str, steps: int, workers: int | None = None) -> float:
        """So many steps of the first `workers` (default: all) at once; seconds from the first one's start to the last one's end."""
        asked = self.workers[:workers]
        self._signal(asked, signal.SIGCONT)
        for worker in asked:
            assert worker.stdin
            with contextlib.suppress(BrokenPipeError):                  # it has died: _wait tells why
                worker.stdin.write(json.dumps({"mode": mode, "steps": steps}).encode() + b"\n")
                worker.stdin.flush()
        answers = self._wait(len(asked))
        self._signal(asked, signal.SIGSTOP)
        if any(not abs(answer["value"]) < 1e6 for answer in answers):
            raise CourseError(f"the training of {mode!r} diverged: its time means nothing")
        return float(max(answer["end"] for answer in answers) - min(answer["start"] for answer in answers))

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            if worker.stdin:
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.close()
        for file in (*self.printed, *self.answers):
            file.close()

    @staticmethod
    def _signal(workers: Sequence[subprocess.Popen[bytes]], what: signal.Signals) -> None:
        for worker in workers:
            worker.send_signal(what)

    def _wait(self, count: int) -> list[dict[str, Any]]:
        """One answer from each of the first `count` workers. Raises CourseError with the last line that a failed one has printed."""
        found: dict[int, dict[str, Any]] = {}
        end = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as waiting:
            for number, pipe in enumerate(self.answers[:count]):
                waiting.register(pipe, selectors.EVENT_READ, number)
            while len(found) < count:
                events = waiting.select(max(0.0, end - time.monotonic()))
                if not events:
                    raise CourseError(f"a worker of the benchmark did not answer in {PATIENCE:g} s: {self._last(self.printed)}")
                for key, _ in events:
                    line = self.answers[key.data].readline()
                    if not line:
                        raise CourseError(f"a worker of the benchmark ended: {self._last([self.printed[key.data]])}")
                    found[key.data] = json.loads(line)
                    waiting.unregister(key.fileobj)
        return [found[number] for number in range(count)]

    @staticmethod
    def _last(files: Sequence[IO[bytes]]) -> str:
        """The last line that a worker has printed."""
        for file in files:
            file.seek(0)
            if lines := file.read().decode(errors="replace").strip().splitlines():
                return lines[-1]
        return "it printed nothing"


@dataclass(frozen=True)
class Config:
    """One thing that is measured: `workers` of the group `group` do steps of `mode`."""

    group: str
    mode: str
    workers: int = 1

    def on(self, workers: int) -> Config:
        return replace(self, workers=workers)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


@contextlib.contextmanager
def group(name: str, ranks: int = 2) -> Iterator[Group]:
    """The group of that name: "keras", "horovod", "torch", "ddp", "legacy" or "mirrored"; "horovod@5" has 5 ms as Horovod's cycle time."""
    name, _, cycle = name.partition("@")
    script = {"keras": "keras", "horovod": "keras", "torch": "torch", "ddp": "torch", "legacy": "mirrored", "mirrored": "mirrored"}[name]
    command = [sys.executable if script == "keras" else str(PEERS), str(HERE / f"with_{script}.py")]
    legacy = {"TF_USE_LEGACY_KERAS": "1"} if script == "mirrored" else {}
    extra: list[dict[str, str]] = [{"HPML_RANK": str(rank), "HPML_RANKS": str(ranks), **legacy} for rank in range(ranks)]
    with contextlib.ExitStack() as stack:
        if name == "horovod":
            world = stack.enter_context(Rendezvous(ranks))
            extra = [{**HOROVOD, **world.environment(rank), **({"HOROVOD_CYCLE_TIME": cycle} if cycle else {})} for rank in range(ranks)]
        elif name == "ddp":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            extra = [{**e, "HPML_MEETING": f"{folder}/meeting", "GLOO_SOCKET_IFNAME": "lo"} for e in extra]
        elif name == "mirrored":
            places = [f"127.0.0.1:{port}" for port in _free_ports(ranks)]
            extra = [{**e, "TF_CONFIG": json.dumps({"cluster": {"worker": places}, "task": {"type": "worker", "index": rank}})}
                     for rank, e in enumerate(extra)]
        found = Group(command, extra)
        stack.callback(found.close)
        yield found


def enough_cores(ranks: int = 2) -> None:
    """Raises CourseError where each rank cannot have a core of its own."""
    if (here := min(len(cores()), machine.cores())) < ranks:
        raise CourseError(f"{ranks} ranks need {ranks} cores, and this process may use {here}: run it where there are more")
