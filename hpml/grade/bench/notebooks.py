"""`hpml bench notebooks`: does every solution notebook, from its first cell to its last, take less than two minutes and 2 GB?

Each runs in a fresh kernel, with an empty cache of verdicts, and the machine card there is. Its time is that on the wall, from starting
the kernel to its last answer. Its memory is the largest sum seen of the resident memory of the kernel and all processes below it, with
the referee's workers; what several share counts once (PSS: each page divided by the number of its processes).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

import psutil

from hpml import course, machine
from hpml.course import CourseError, Lab
from hpml.grade.bench import Row, row, show

SECONDS, GB = 120.0, 2.0                        # goals
GIVE_UP = 600                                   # seconds, for one cell
EVERY = 0.2                                     # seconds between two looks


def resident(process: psutil.Process) -> int:
    """Bytes of a process, its share of what it shares; all of that where the system does not say. 0 if it has ended."""
    try:
        try:
            return int(process.memory_full_info().pss)
        except (psutil.AccessDenied, AttributeError):
            return int(process.memory_info().rss)
    except psutil.Error:
        return 0


class Peak(threading.Thread):
    """Watches the processes below this one; `bytes` is the most that they had together. To be used with `with`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.over, self.seen = 0, threading.Event(), set[psutil.Process]()

    def look(self) -> None:
        self.seen = {p for p in self.seen | set(psutil.Process().children(recursive=True)) if p.is_running()}
        self.bytes = max(self.bytes, sum(resident(p) for p in self.seen))

    def run(self) -> None:
        while not self.over.wait(EVERY):
            self.look()

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def execute(lab: Lab) -> tuple[float, float]:
    """Seconds and GB of a lab's solution notebook. Raises CourseError where a cell fails."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    path = course.ROOT / "solutions" / lab.lab / f"{lab.lab}.ipynb"
    if not path.is_file():
        raise CourseError(f"{path} is not there; make it with: hpml build")
    with tempfile.TemporaryDirectory(prefix="hpml-bench-") as cache:
        shutil.copy(machine.path(), cache)
        client = NotebookClient(nbformat.read(path, as_version=4), timeout=GIVE_UP, resources={"metadata": {"path": str(path.parent)}})
        try:
            with Peak() as peak:
                began = time.monotonic()
                client.execute(env={**os.environ, "HPML_CACHE": cache})
                seconds = time.monotonic() - began
        except CellExecutionError as e:
            raise CourseError(f"the solution notebook of {lab.lab} stops with {e.ename}: {e.evalue}; open it and run it") from None
        except (CellTimeoutError, DeadKernelError) as e:
            raise CourseError(f"the solution notebook of {lab.lab} did not run to its end: {str(e).splitlines()[0]}") from None
    return seconds, peak.bytes / 1e9


def rows(labs: Sequence[Lab], rounds: int) -> list[Row]:
    """Two figures a lab: medians over the rounds, from the lowest to the highest."""
    found = []
    for lab in labs:
        runs = []
        for n in range(rounds):
            seconds, size = execute(lab)
            runs.append((seconds, size))
            print(f"hpml bench notebooks: {lab.lab}, {n + 1} of {rounds}: {seconds:.1f} s, {size:.2f} GB", file=sys.stderr, flush=True)
        figures = ("time", "s", SECONDS), ("peak memory", "GB", GB)
        for (what, unit, goal), values in zip(figures, zip(*runs, strict=True), strict=True):
            middle = statistics.median(values)
            found.append(row(f"{lab.lab} solution notebook, {what}", middle, min(values), max(values), unit, goal, least=False))
    return found


def main(argv: list[str]) -> int:
    """`hpml bench notebooks`. Returns 0 where every goal is met, else 1."""
    parser = argparse.ArgumentParser(prog="hpml bench notebooks", epilog="Example: hpml bench notebooks 04-conv-gemm --json",
                                     description="Time and memory of whole solution notebooks. Leave the machine alone meanwhile; a round "
                                                 "takes about a minute and a half for each lab.")
    parser.add_argument("lab", nargs="*", help="default: all that are ready")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often each is run; default: 1")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("at least one round")
    machine.card()                              # measured now, in none of the runs
    found = rows([course.load().lab(name) for name in options.lab] or course.load().ready(), options.rounds)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0 if all(r["met"] for r in found) else 1
