"""Computes and measures the numbers that the lab's prose quotes: writes `measured.json` and the figures of the slides.
Run it again on a quiet machine: `python measure.py`.

Times of 8 and 512 workers follow from α and β of the lab's network. What the real ring takes beside its α–β prediction is measured on
two processes of this machine, with the reference solution, as the referee measures it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpml import course, exercise, plots
from hpml.distributed import run_ranks
from hpml.machine import card as machine_card
from hpml.widgets import ring_svg

HERE = Path(__file__).parent
N, BYTES = 512, 100e6
MB = 1e6


def rounded(value: float, digits: int = 2) -> str:
    """So many significant digits, without an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u2009")


def seconds(value: float) -> str:
    """33 s, 0.58 s, 84 ms"""
    return f"{rounded(value)} s" if value >= 0.3 else f"{rounded(value * 1e3)} ms"


def save(picture: Any, name: str, label: str) -> None:
    (HERE / "figures" / f"{name}.svg").write_text(plots.svg(picture, label, paper=True) + "\n", encoding="utf-8")


def draw_sizes(trusted: Any) -> None:
    """Time against the size of the array, 8 ranks."""
    sizes = np.geomspace(1e3, 1e9, 200)
    picture, axis = plots.figure(8.4, 4.2)
    for name, formula in (("through one rank", trusted.gather_seconds), ("tree", trusted.tree_seconds), ("ring", trusted.ring_seconds)):
        axis.loglog(sizes, [formula(8, n) * 1e3 for n in sizes], label=name)
    meet = trusted.crossover(8)
    axis.axvline(meet, color="0.5", ls=":")
    axis.annotate(f"{meet / 1e3:.0f} kB", (meet * 1.2, 100), fontsize=13)
    axis.set(xlabel="array, bytes", ylabel="time, ms", title="8 ranks on 25 Gb/s: 20 µs a message, 0.32 ns a byte")
    axis.legend(fontsize=13)
    save(picture, "sizes", "time of three ways to average against the size of the array; the ring beats the tree from 118 kB on")


def draw_workers(trusted: Any) -> None:
    """Time against the number of workers, 100 MB."""
    ranks = [2 ** k for k in range(3, 10)]
    picture, axis = plots.figure(8.4, 4.2)
    ways = {"through one": trusted.gather_seconds, "tree": trusted.tree_seconds, "ring": trusted.ring_seconds,
            "two levels": trusted.two_level_seconds}
    for (name, formula), mark in zip(ways.items(), "so^D", strict=True):
        times = [formula(n, BYTES) for n in ranks]
        line, = axis.loglog(ranks, times, mark + "-", mec="white")
        shift = {"ring": 1.22, "two levels": 0.8}.get(name, 1)
        axis.annotate(f"{name}: {seconds(times[-1])}", (ranks[-1] * 1.12, times[-1] * shift), va="center", fontsize=13,
                      color=line.get_color())
    axis.set_xticks(ranks, ranks)
    axis.minorticks_off()
    axis.set(xlim=(7, 2600), xlabel="workers, 4 to a node", ylabel="time, s", title="The average of 100 MB")
    save(picture, "workers", "time to average 100 MB against the number of workers, four ways")


def horovod(sizes: list[int]) -> list[float]:
    """Seconds of Horovod's allreduce on two ranks, best of 25, as the notebook measures it."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    best = []
    for size in sizes:
        x, times = tf.fill([size // 4], float(hvd.rank())), []
        for _ in range(25):
            hvd.allreduce(tf.zeros(1), name="ready")
            began = time.perf_counter()
            hvd.allreduce(x, op=hvd.Average, name=f"x{size}").numpy()
            times.append(time.perf_counter() - began)
        best.append(min(times))
    return best


def draw_real(sizes: np.ndarray, promise: np.ndarray, rows: np.ndarray, theirs: np.ndarray) -> None:
    """The ring on two real processes beside the formula."""
    picture, axis = plots.figure(8.4, 4.2)
    axis.loglog(sizes, rows[:, 1] * 1e3, "o", ms=10, mec="white", label="measured")
    axis.loglog(sizes, promise * 1e3, "-", label="2(N-1)(α + βn/N)")
    axis.loglog(sizes, rows[:, 2] * 1e3, "D:", ms=5, lw=1.2, label="on Silent: no messages")
    axis.loglog(sizes, theirs * 1e3, "^-", lw=1.2, mec="white", label="Horovod")
    axis.set(xlabel="array, bytes", ylabel="time, ms", title="ring, 2 real processes")
    axis.legend(fontsize=12)
    save(picture, "real", "time of the ring on two real processes against the size of the array: clock, formula, Silent, Horovod")


def main() -> None:
    lab = course.load().lab("10-allreduce")
    trusted = exercise.load_module(lab)
    draw_sizes(trusted)
    draw_workers(trusted)
    (HERE / "figures" / "ring.svg").write_text(ring_svg(4, 2) + "\n", encoding="utf-8")
    gather, ring = trusted.gather_seconds(N, BYTES), trusted.ring_seconds(N, BYTES)
    nodes, beta = 128, trusted.CABLE.beta
    sizes, rows = trusted.real_rings("ring_allreduce", "silent")
    link = trusted.fitted(sizes, rows[:, 0])
    promise = np.array([trusted.ring_seconds(2, n, link) for n in sizes])
    theirs = np.array(run_ranks(horovod, 2, args=(sizes.tolist(),))[0])
    draw_real(sizes, promise, rows, theirs)
    place = sizes.tolist().index(trusted.MEASURED_BYTES)
    factors = rows[:, 1] / promise
    numbers = {
        "gather_512": seconds(gather),
        "tree_512": seconds(trusted.tree_seconds(N, BYTES)),
        "ring_512": seconds(ring),
        "two_level_512": seconds(trusted.two_level_seconds(N, BYTES)),
        "ratio_512": rounded(gather / ring),
        "ring_multiple": rounded(2 * (N - 1) / N, 4),
        "resnet_bound": rounded(2 * (nodes - 1) / nodes * beta * 178e6 * 1e3, 3),
        "vgg_bound": rounded(2 * (nodes - 1) / nodes * beta * 553e6 * 1e3, 3),
        "alpha": f"{rounded(link.alpha * 1e6)} µs",
        "bandwidth": f"{rounded(1e-9 / link.beta)} GB/s",
        "real_factor": rounded(factors[place]),
        "formula_us": f"{rounded(promise[place] * 1e6)} µs",
        "measured_us": f"{rounded(rows[place, 1] * 1e6)} µs",
        "own_us": f"{rounded(rows[place, 2] * 1e6)} µs",
        "explained": rounded(100 * (promise[place] + rows[place, 2]) / rows[place, 1]),
        "short_factor": rounded(factors[0]),
        "large_factor": rounded(factors[-1]),
        "large_mb": rounded(sizes[-1] / MB),
        "large_own": rounded(100 * rows[-1, 2] / rows[-1, 1]),
        "large_ms": f"{rounded(rows[-1, 1] * 1e3)} ms",
        "horovod_us": f"{rounded(theirs[place] * 1e6)} µs",
        "horovod_large": f"{rounded(theirs[-1] * 1e3)} ms",
        "here": f"{machine_card().cpu}, 2 processes",
    }
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
