"""Measures the numbers that the lab's prose quotes: writes `measured.json`, and the figures of the slides.
Run it again on a quiet machine: `python measure.py`.

Everything runs in one process on one thread, in short alternating blocks of processor time; what is written are medians, and medians of
the ratios of neighbouring blocks. The reference solution of the lab is what runs.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from hpml.machine import THREAD_LIMITS

if __name__ == "__main__":                                  # before NumPy is imported: the number of its threads is settled then
    os.environ |= dict.fromkeys(THREAD_LIMITS, "1")
    for _name in [n for n in os.environ if n.startswith("OPENBLAS_") and n != "OPENBLAS_NUM_THREADS"]:
        del os.environ[_name]                               # a referee's worker has none of these either

import time

import numpy as np

from hpml import course, data, exercise, plots, source, widgets
from hpml.machine import Machine
from hpml.machine import card as machine_card

HERE = Path(__file__).parent


def block(function: Any, *args: Any, least: float = 0.02) -> float:
    """Processor seconds of one call, in a block of at least `least` seconds."""
    calls = 1
    while True:
        begin = time.process_time()
        for _ in range(calls):
            function(*args)
        spent = time.process_time() - begin
        if spent >= least:
            return spent / calls
        calls *= 2


def race(ways: dict[str, Any], rounds: int = 15) -> dict[str, np.ndarray]:
    """Alternating blocks of every way, after one of each to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, call in ways.items():
            spent = block(call)
            if turn:
                times[name].append(spent)
    return {name: np.array(found) for name, found in times.items()}


def rounded(value: float, digits: int = 2) -> str:
    """Two digits that matter, thousands apart."""
    return f"{float(f'{value:.{digits}g}'):,.12g}".replace(",", " ")


def save(name: str, picture: Any, label: str) -> None:
    (HERE / "figures" / f"{name}.svg").write_text(plots.svg(picture, label, paper=True) + "\n", encoding="utf-8")


def large(axis: Any) -> None:
    """Type that can be read at the back of a room."""
    axis.tick_params(labelsize=13)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set_size(13)


def caches(card: Machine) -> None:
    """The speed of a copy against the bytes that it touches."""
    sizes, speeds = [2**p for p in range(8, 25)], []
    for n in sizes:
        there, here = np.ones(n, np.float32), np.empty(n, np.float32)
        speeds.append(8 * n / float(np.median([block(np.copyto, here, there, least=0.01) for _ in range(9)])) / 1e9)
    picture, axis = plots.figure(9, 4.2)
    axis.loglog([8 * n / 1024 for n in sizes], speeds, "o-")
    axis.axhline(card.bandwidth_gbs(1), ls="--", color=plots.INK, lw=1)
    for level, count in card.caches.items():
        axis.axvline(count / 1024, color="0.6", lw=1)
        axis.annotate(f" {level}", (count / 1024, 1.25 * max(speeds)), fontsize=13)
    axis.annotate(f"memory: {card.bandwidth_gbs(1):.0f} GB/s", (2.1, 1.1 * card.bandwidth_gbs(1)), fontsize=13)
    axis.set_xticks([2, 16, 128, 1024, 8192, 65536], ["2 kB", "16 kB", "128 kB", "1 MB", "8 MB", "64 MB"])
    axis.set_xticks([], minor=True)
    low, high = min(speeds) / 1.5, 1.8 * max(speeds)
    levels = [v for v in (1, 2, 5, 10, 20, 50, 100, 200) if low <= v <= high]
    axis.set_yticks(levels, levels)
    axis.set_yticks([], minor=True)
    axis.set(ylim=(low, high), xlabel="bytes that the copy touches", ylabel="GB/s, read + written")
    large(axis)
    save("caches", picture, "speed of a copy against the bytes that it touches")


def roofline(card: Machine, points: dict[str, tuple[float, float]]) -> None:
    """Four kernels on the roofline: intensity and speed of each."""
    peak, bandwidth = card.gemm_gflops(1), card.bandwidth_gbs(1)
    picture, axis = plots.figure(9, 4.6)
    ends = np.array([0.05, card.ridge(1), 1000])
    axis.loglog(ends, np.minimum(peak, ends * bandwidth), color=plots.INK)
    axis.annotate(f"arithmetic: {peak:.0f} GFLOP/s", (card.ridge(1) * 3, 1.3 * peak), fontsize=13)
    axis.annotate(f"memory:\n{bandwidth:.0f} GB/s", (0.055, 0.3 * bandwidth), fontsize=13)
    for (name, (place, speed)), mark, colour in zip(points.items(), "osD^", plots.CYCLE, strict=False):
        top = min(peak, place * bandwidth)
        axis.plot([place, place], [speed, top], ":", color=colour, lw=1.6)
        axis.plot(place, speed, mark, color=colour, ms=11, mec="white", mew=0.8, label=f"{name}: {speed / top:.0%} of the roof")
    axis.set_xticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1000"])
    axis.set(ylim=(min(speed for _, speed in points.values()) / 3, 3 * peak), xlabel="work per byte of memory traffic, FLOP/byte",
             ylabel="GFLOP/s on one thread")
    axis.legend(loc="lower right", fontsize=13)
    large(axis)
    save("kernels", picture, "four kernels on the roofline of one thread")


def main() -> None:
    lab = course.load().lab("01-measuring")
    found = source.read(lab)
    trusted: Any = exercise.load_module(lab)
    names: dict[str, Any] = {}
    skipping = next(cell.source for cell in found.cells if "def skipping(" in cell.source)
    for part in (found.given["preamble"], *(found.answers[name] for name in ("work", "distances", "best_and_worst")), skipping):
        exec(part, names)
    with tempfile.TemporaryDirectory() as cache:            # the reader's own card stays as it is
        os.environ["HPML_CACHE"] = cache
        card = machine_card(refresh=True)

    rng, n, a = np.random.default_rng(5), 10_000_000, np.float32(0.5)
    x, y, t = np.ones(n, np.float32), np.ones(n, np.float32), np.empty(n, np.float32)
    few = [part[:100].copy() for part in (x, y, t)]
    m, v = rng.random((4096, 4096), dtype=np.float32), rng.random(4096, dtype=np.float32)
    s = rng.random((512, 512), dtype=np.float32)
    shares = trusted.kernels()
    kernels = {"axpy, 10 million": lambda: trusted.axpy(a, x, y, t), "matrix times vector, 4096": lambda: trusted.matvec(m, v),
               "dense, 512 cubed": lambda: trusted.dense(s, s), "axpy, 100": lambda: trusted.axpy(a, *few)}
    times = race(kernels)
    shapes = {"axpy, 10 million": ("axpy", n), "matrix times vector, 4096": ("dense", 1, 4096, 4096),
              "dense, 512 cubed": ("dense", 512, 512, 512), "axpy, 100": ("axpy", 100)}
    points = {}
    for name, shape in shapes.items():
        flops, moved = names["work"](*shape)
        points[name] = (flops / moved, flops / float(np.median(times[name])) / 1e9)

    fashion = data.load("fashion-mnist-mini")
    real = fashion.x_train[:1120].reshape(-1, 784).astype(np.float32) / 255
    pictures = fashion.x_train[:2000].reshape(-1, 784).astype(np.float32) / 255
    averages = np.stack([pictures[fashion.y_train[:2000] == q].mean(axis=0) for q in range(10)])
    rows = race({"three": lambda: trusted.three_passes(pictures, averages, 8), "blocks": lambda: names["distances"](pictures, averages, 8)})

    best, worst = (mask.astype(np.float32) for mask in names["best_and_worst"](1120, 784, 112, int(np.count_nonzero(real))))
    w = rng.random((784, 512), dtype=np.float32)
    skips: dict[str, str] = {}
    for name, array in {"best": best, "worst": worst, "real": real}.items():
        pair = race({"skip": lambda array=array: names["skipping"](array, w, 112), "plain": lambda array=array: array @ w}, 9)
        skips[f"skip_{name}"] = rounded(float(np.median(pair["plain"] / pair["skip"])))
        skips[f"{name}_empty"] = f"{100 * np.mean(~array.reshape(10, 112, 7, 112).any(axis=(1, 3))):.0f}"

    caches(card)
    roofline(card, points)
    peak, bandwidth = card.gemm_gflops(1), card.bandwidth_gbs(1)
    drawn = widgets.roofline_svg(peak, bandwidth, intensity=1 / 6, speed=bandwidth / 12)
    larger = ".hpml-roofline-svg text, .hpml-roofline-svg .tick, .hpml-roofline-svg .name, .hpml-roofline-svg .axis { font-size: 16.5px; }"
    drawn = drawn.replace("</style>", f"{larger}</style>", 1)               # to be read at the back of a room
    (HERE / "figures" / "roof.svg").write_text(drawn + "\n", encoding="utf-8")

    years = 50 * 1.28e6 * 3 * 2 * 19.6e9 / (peak * 1e9) / (365 * 86400)
    numbers = {
        "axpy_mflop": rounded(2 * n / 1e6), "dense_mflop": rounded(2 * 512**3 / 1e6, 3),
        "flop_ratio": rounded(2 * 512**3 / (2 * n)),
        "axpy_ms": f"{rounded(float(np.median(times['axpy, 10 million'])) * 1e3)} ms",
        "dense_ms": f"{rounded(float(np.median(times['dense, 512 cubed'])) * 1e3)} ms",
        "vgg_years": f"{rounded(years)} years",
        "peak": rounded(peak, 3), "bandwidth": rounded(bandwidth), "numpy_call": rounded(card.numpy_call_ns),
        "call_flop": rounded(card.numpy_call_ns * peak),
        "ridge": rounded(card.ridge(1)),
        "axpy_share": rounded(shares["axpy_share"]),
        "hundred_to_ten": rounded(shares["hundred_to_ten"], 3),
        "gain": rounded(float(np.median(rows["three"] / rows["blocks"]))),
        "zeros": f"{100 * np.mean(real == 0):.0f}", **skips,
        "here": f"{card.cpu}, one thread, {card.blas}",
    }
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
