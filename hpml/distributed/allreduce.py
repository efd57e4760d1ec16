"""`hpml bench allreduce`: does the α–β model predict a ring allreduce that is then measured on real processes?

What is measured. N processes of this machine, mpi4py, Open MPI, shared memory. Three things in turn, in rounds; the lower quartile of each:
step      every rank sends to its right and receives from its left at once; sizes that lie between those of the ring's own messages
combine   every rank adds one array to another
ring      the allreduce itself, from 4 KB to 64 MB of float32 on each rank
What is predicted: (N - 1)·(2·step(S/N) + combine(S/N)), with step and combine piecewise lines in size. The step is measured with as many
ranks as the ring has, because N ranks share the cores and the memory of one machine: with more ranks than cores the lines describe that
sharing, not a cable. So this tests that a collective is the sum of its steps; it does not predict many ranks from few.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpml import machine, theme
from hpml.course import CourseError
from hpml.distributed.fit import Curve, fit, ring_seconds
from hpml.distributed.mpi import MPIError, run_mpi

KB, MB = 1024, 1024**2
LEAST, MOST = 4 * KB, 64 * MB                                            # bytes on each rank
BLOCK = 0.01                                                             # seconds of one timed block
FEW, MANY = 3, 15                                                        # rounds
GOAL = 25.0                                                              # %, the median error
Row = dict[str, Any]

# Horovod's documentation, "Benchmarks": 128 servers of 4 Pascal GPUs, 25 Gbit/s RoCE, batch 64 on each GPU.
NODES, GBITS, BATCH = 128, 25.0, 64
BACKWARD = 2 / 3                                                         # of a step's computing: it costs twice the forward pass


@dataclass(frozen=True)
class Published:
    """One network of that benchmark. megabytes: float32 gradients. images: per second and GPU, without the network. efficiency: %."""

    name: str
    megabytes: float
    images: float
    efficiency: float

    def ring(self) -> float:
        """Seconds: the ring's bound where each node's one link carries the gradient 2(N - 1)/N times. α is not published, and left out."""
        return ring_seconds(self.megabytes * 1e6, NODES, Curve.line(0.0, 8 / (GBITS * 1e9)))

    def bracket(self) -> tuple[float, float]:
        """Efficiency, %, if the ring waits until computing has ended, and if the backward pass hides as much of it as it can."""
        computing = BATCH / self.images
        seen = max(0.0, self.ring() - BACKWARD * computing)
        return 100 * computing / (computing + self.ring()), 100 * computing / (computing + seen)


PUBLISHED = (
    Published("Inception V3", 95.4, 142.0, 90.0),       # 23,851,784 parameters; images: TensorFlow's benchmarks of May 2017, one P100
    Published("ResNet-101", 178.0, 1656.82 / 16, 90.0),  # images: the same page of Horovod's, 16 GPUs: so a little low
    Published("VGG-16", 553.0, 154.0, 68.0),            # images: as for Inception V3
)


@dataclass(frozen=True)
class Measured:
    """Seconds by size: of a step and a sum (`sizes`), and of the ring (`ring_sizes`); the lower quartile of the rounds."""

    ranks: int
    sizes: tuple[int, ...]
    step: tuple[float, ...]
    combine: tuple[float, ...]
    ring_sizes: tuple[int, ...]
    ring: tuple[float, ...]
    share: float = 1.0                     # of the cores' time that the ranks had, of what they could have had

    @property
    def quiet(self) -> bool:
        """Whether other programs left the cores to the ranks."""
        return self.share >= machine.QUIET


def ring_sizes(most: int = MOST) -> tuple[int, ...]:
    """Bytes on each rank, from 4 KB, doubling."""
    return tuple(size for k in range(40) if (size := LEAST * 2**k) <= most)


def step_sizes(ranks: int, most: int = MOST) -> tuple[int, ...]:
    """Bytes of the messages whose steps are measured: from below the ring's shortest message to above its longest, and none of its own."""
    return tuple(size for k in range(40) if LEAST / ranks / 2 < (size := 192 * 2**k) < 2 * most / ranks)


def ring_allreduce(comm: Any, x: np.ndarray, room: np.ndarray) -> None:
    """The sum of x over all ranks, in place. room: an array of at least ceil(len(x) / N) elements."""
    n, rank = comm.size, comm.rank
    right, left = (rank + 1) % n, (rank - 1) % n
    parts = [x[len(x) * i // n:len(x) * (i + 1) // n] for i in range(n)]
    for k in range(n - 1):
        mine, theirs = parts[(rank - k) % n], parts[(rank - k - 1) % n]
        comm.Sendrecv(mine, right, 0, room[:theirs.size], left, 0)
        theirs += room[:theirs.size]
    for k in range(n - 1):
        comm.Sendrecv(parts[(rank + 1 - k) % n], right, 0, parts[(rank - k) % n], left, 0)


def on_rank(comm: Any, budget: float, most: int) -> tuple[dict[tuple[str, int], list[float]], float]:
    """What each process does, for `budget` seconds: (what, bytes) → seconds of one, for each round; and its share of a core meanwhile.

    What is short is done many times in a block of BLOCK seconds, so that whatever else the machine does meets steps and rings alike.
    """
    n, right, left = comm.size, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    sizes = step_sizes(n, most)
    x, room = np.zeros(n * sizes[-1] // 4, np.float32), np.zeros(sizes[-1] // 4, np.float32)

    def block(what: str, nbytes: int, times: int) -> float:
        length = nbytes // 4
        parts = [x[i * length:(i + 1) * length] for i in range(n)] if what != "ring" else []
        comm.Barrier()
        began = time.perf_counter()
        for k in range(times):
            if what == "step":                                           # from part to part, as in the ring: caches see the same
                comm.Sendrecv(parts[k % n], right, 0, parts[(k - 1) % n], left, 0)
            elif what == "combine":
                parts[k % n] += room[:length]
            else:
                ring_allreduce(comm, x[:length], room)
        return (time.perf_counter() - began) / times

    todo = [(what, size) for size in sizes for what in ("step", "combine")] + [("ring", size) for size in ring_sizes(most)]
    todo.sort(key=lambda key: key[1])
    for what, size in todo:                                              # touch memory, open connections
        block(what, size, 3)
    times = {key: comm.bcast(max(1, min(1000, round(BLOCK / block(key[0], key[1], 3))))) for key in todo}
    found: dict[tuple[str, int], list[float]] = {key: [] for key in todo}
    began, used = time.monotonic(), time.process_time()
    while comm.bcast(len(found[todo[0]]) < FEW or (len(found[todo[0]]) < MANY and time.monotonic() - began < budget)):
        for key in todo:
            found[key].append(block(key[0], key[1], times[key]))
    return found, (time.process_time() - used) / (time.monotonic() - began)       # a rank that waits for a message keeps its core busy


def measure(ranks: int, *, budget: float = 25, most: int = MOST) -> Measured:
    """Measure on `ranks` processes for about `budget` seconds; a time is the lower quartile over rounds of the slowest rank's.

    Raises MPIError where MPI does not start.
    """
    found = run_mpi(on_rank, [(budget, most)] * ranks, timeout=180).results
    rounds = {key: [max(times) for times in zip(*(one[key] for one, _ in found), strict=True)] for key in found[0][0]}
    typical = {key: float(np.quantile(times, 0.25)) for key, times in rounds.items()}
    share = min(share for _, share in found) / min(1.0, len(os.sched_getaffinity(0)) / ranks)
    sizes, whole = step_sizes(ranks, most), ring_sizes(most)
    step, combine = (tuple(typical[what, size] for size in sizes) for what in ("step", "combine"))
    return Measured(ranks, sizes, step, combine, whole, tuple(typical["ring", size] for size in whole), min(1.0, share))


def predicted(found: Measured, ranks: int | None = None) -> list[float]:
    """Seconds of the ring for each of its sizes, from the fitted step and sum of these measurements."""
    step, combine = fit(found.sizes, found.step), fit(found.sizes, found.combine)
    return [ring_seconds(size, ranks or found.ranks, step, combine) for size in found.ring_sizes]


def errors(found: Measured) -> list[float]:
    """Relative error of the prediction, %, for each size of the ring; positive: predicted too slow."""
    return [100 * (p / m - 1) for p, m in zip(predicted(found), found.ring, strict=True)]


def rows(all_found: list[Measured]) -> list[Row]:
    """The figures, for printing and for JSON."""
    made: list[Row] = []

    def row(name: str, value: float, low: float, high: float, unit: str, goal: float | None = None, quiet: bool = True) -> None:
        made.append({"name": name, "value": value, "low": low, "high": high, "unit": unit, "goal": goal,
                     "met": value <= goal if goal is not None and quiet else None})
    for found in all_found:
        sizes = [abs(e) for e in errors(found)]
        quarter, half, three = statistics.quantiles(sizes, n=4)
        span = f"{theme.size(found.ring_sizes[0])} to {theme.size(found.ring_sizes[-1])}"
        row(f"ring of {found.ranks}, {span}: median error of the prediction (interval: quartiles over sizes)", half, quarter, three,
            "%", GOAL, found.quiet)
        row(f"ring of {found.ranks}: share of the cores' time that the ranks had" + ("" if found.quiet else " (too noisy: measure again)"),
            100 * found.share, 100 * found.share, 100 * found.share, "%")
        at = max(range(len(sizes)), key=sizes.__getitem__)
        row(f"ring of {found.ranks}: worst error, at {theme.size(found.ring_sizes[at])}", sizes[at], sizes[at], sizes[at], "%")
        link = fit(found.sizes, found.step).link()
        row(f"step between {found.ranks} ranks: α", 1e6 * link.alpha, 1e6 * link.alpha, 1e6 * link.alpha, "µs")
        row(f"step between {found.ranks} ranks: β", 1e12 * link.beta, 1e12 * link.beta, 1e12 * link.beta, "µs/MB")
    for net in PUBLISHED:
        row(f"512 GPUs, {net.name}, {net.megabytes:.0f} MB: ring bound, {NODES} nodes with one {GBITS:.0f} Gb/s link each",
            1e3 * net.ring(), 1e3 * net.ring(), 1e3 * net.ring(), "ms")
        alone, hidden = net.bracket()
        row(f"512 GPUs, {net.name}: efficiency without overlap (to: hidden behind backward); published {net.efficiency:.0f} %",
            alone, alone, hidden, "%")
    return made


def picture(all_found: list[Measured]) -> Any:
    """Measured and predicted time over size, and the error below: a figure in the course's style."""
    from hpml import plots
    drawn, (above, below) = plots.figure(7.2, 5.6, rows=2, sharex=True, height_ratios=(2.2, 1))
    looks = ((theme.BLUE, "o", "-"), (theme.VERMILLION, "s", "--"), (theme.GREEN, "^", ":"))
    for found, (colour, mark, dash) in zip(all_found, looks, strict=False):
        above.plot(found.ring_sizes, [1e3 * t for t in found.ring], mark, color=colour, label=f"{found.ranks} ranks, measured")
        above.plot(found.ring_sizes, [1e3 * t for t in predicted(found)], dash, color=colour, label=f"{found.ranks} ranks, predicted")
        below.plot(found.ring_sizes, errors(found), mark + dash, color=colour)
    above.set(xscale="log", yscale="log", ylabel="time (ms)")
    above.set_title("Ring allreduce on this machine: the α–β model and the clock")
    above.legend()
    below.axhspan(-GOAL, GOAL, color=theme.GREY, alpha=0.15, linewidth=0)
    below.axhline(0, color=theme.GREY, linewidth=1)
    below.set(xlabel="bytes on each rank", ylabel="error (%)", xticks=[4 * KB, 64 * KB, MB, 16 * MB, 64 * MB],
              xticklabels=["4 KB", "64 KB", "1 MB", "16 MB", "64 MB"])
    below.minorticks_off()
    return drawn


def main(argv: list[str] | None = None) -> int:
    """`hpml bench allreduce`. Returns 0 where every goal is met, else 1."""
    parser = argparse.ArgumentParser(prog="hpml bench allreduce", description="The α–β model against a measured ring. About a minute.",
                                     epilog="Example: hpml bench allreduce --json --plot ring.svg")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4], help="how many processes (default: 2 4)")
    parser.add_argument("--quick", action="store_true", help="a few seconds, up to 1 MB: to see that it works")
    parser.add_argument("--plot", type=Path, help="write the picture to this .svg or .png file")
    options = parser.parse_args(argv)
    if min(options.ranks) < 2:
        parser.error("a ring has at least 2 ranks")
    try:
        found = [measure(ranks, **({"budget": 1, "most": MB} if options.quick else {})) for ranks in options.ranks]
    except MPIError as error:
        raise CourseError(str(error)) from None
    made = rows(found)
    if options.plot:
        from hpml import plots
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        if options.plot.suffix == ".png":
            picture(found).savefig(options.plot, facecolor="white", dpi=150)
        else:
            options.plot.write_text(plots.svg(picture(found), "Ring allreduce, measured and predicted", paper=True), encoding="utf-8")
    if options.json:
        print(json.dumps(made, indent=1))
    else:
        from rich.console import Console
        from rich.table import Table
        table = Table("figure", "value", "interval", "goal", "met")
        for r in made:
            table.add_row(r["name"], f"{r['value']:.3g} {r['unit']}", f"{r['low']:.3g} … {r['high']:.3g}",
                          "" if r["goal"] is None else f"{r['goal']:g}", {True: "yes", False: "NO", None: ""}[r["met"]])
        Console().print(table)
    return 0 if all(r["met"] is not False for r in made) else 1


if __name__ == "__main__":
    sys.exit(main())
