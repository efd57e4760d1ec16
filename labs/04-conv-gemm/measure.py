"""Measures the numbers that the lab's prose quotes: writes `measured.json`, and `figures/roofline.svg` for the slides.
Run it again on a quiet machine: `python measure.py`.

Reference solution, six loops and framework run in processes of their own, pinned to one core with one thread and set up like the referee's
workers, in short alternating blocks of processor time; what is written are medians, and medians of the ratios of neighbouring blocks.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hpml import course, exercise, plots, source
from hpml.machine import card as machine_card
from hpml.referee.jail import threads_environment

HERE = Path(__file__).parent
WORKER = r'''
import json, os, sys, time
import numpy as np
names = {"np": np}
exec(sys.stdin.readline() and json.loads(sys.stdin.readline()), names)
if "tensorflow" in sys.argv:
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(1), tf.config.threading.set_inter_op_parallelism_threads(1)
rng, cases = np.random.default_rng(4), {}
for line in sys.stdin:
    call, (N, H, C, K), least = json.loads(line)
    if (N, H, C, K) not in cases:
        x = rng.standard_normal((N, H, H, C), dtype=np.float32)
        w = rng.standard_normal((3, 3, C, K), dtype=np.float32)
        cases = {(N, H, C, K): (x, w)}
    names["x"], names["w"] = cases[N, H, C, K]
    run, n, spent = compile(call, "call", "eval"), 0, 0.0
    eval(run, names)
    while spent < least:
        begin = time.process_time()
        eval(run, names)
        spent, n = spent + time.process_time() - begin, n + 1
    print(json.dumps(spent / n), flush=True)
'''


class Worker:
    """One pinned process; `block` measures one block of calls."""

    def __init__(self, program: str, *options: str, **environment: str) -> None:
        core = max(os.sched_getaffinity(0))
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, **threads_environment(1), **environment},
                                        preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n" + json.dumps(program) + "\n")

    def block(self, call: str, shape: tuple[int, ...], least: float) -> float:
        """Processor seconds of one call, in a block of at least `least` seconds."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([call, shape, least]) + "\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)


def race(ways: dict[str, tuple[Worker, str]], shape: tuple[int, ...], rounds: int, least: float) -> dict[str, list[float]]:
    """Alternating blocks of every way, after one block of each to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (worker, call) in ways.items():
            spent = worker.block(call, shape, least)
            if turn:
                times[name].append(spent)
    return times


def ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    """Median of the ratios of neighbouring blocks."""
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))


def rounded(value: float, digits: int = 2) -> str:
    """So many significant digits, without an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u2009")


def draw(card: Any, work: Any, loops: dict[str, list[float]], big: dict[str, list[float]]) -> None:
    """The large layer on the roofline; the six loops, too slow for it, at the speed they have on the small one."""
    layer, small = work({"N": 64, "H": 56, "W": 56, "C": 32, "K": 32, "k": 3}), work({"N": 2, "H": 28, "W": 28, "C": 16, "K": 32, "k": 3})
    speed = {name: layer.flops / statistics.median(times) / 1e9 for name, times in big.items()}
    speeds = {"six loops": small.flops / statistics.median(loops["loops"]) / 1e9, "conv_gemm": speed["gemm_mine"],
              "conv_tiled": speed["tiled_mine"], "framework": speed["framework"]}
    peak, bandwidth, left, right = card.gemm_gflops(1), card.bandwidth_gbs(1), 0.5, 1500
    picture, axis = plots.figure(7.5, 4.2)
    axis.loglog([left, card.ridge(1), right], [left * bandwidth, peak, peak], color=plots.INK)
    axis.annotate(f"NumPy's matrix product, {peak:.0f} GFLOP/s", (left * 1.2, 1.5 * peak), fontsize=13)
    axis.annotate(f"memory, {bandwidth:.0f} GB/s", (1.6, 0.5 * bandwidth), fontsize=13)
    for n, (name, value) in enumerate(sorted(speeds.items(), key=lambda found: -found[1])):      # where two meet, both are seen
        axis.plot(layer.intensity, value, "^Dso"[n], ms=8 if n else 15, mec="white", mew=0.8, label=f"{name}: {value:.3g} GFLOP/s")
    axis.legend(loc="lower left", fontsize=13)
    axis.set(xlim=(left, right), ylim=(0.02, 4 * peak), xlabel="work per byte of memory traffic, FLOP/byte", ylabel="GFLOP/s on one thread")
    axis.tick_params(labelsize=13)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set_size(13)
    (HERE / "figures" / "roofline.svg").write_text(plots.svg(picture, "four programs on the roofline", paper=True) + "\n", encoding="utf-8")


def main() -> None:
    for name in [n for n in os.environ if n.startswith("OPENBLAS_")]:       # a referee's worker has none of these either
        del os.environ[name]
    lab = course.load().lab("04-conv-gemm")
    declared: Any = exercise.load(lab)
    answers = source.read(lab).answers
    solution = "\n".join(answers[name] for name in ("im2col", "conv_gemm", "conv_tiled"))
    baselines = "\n".join(declared["conv_gemm"].baseline_source(name) for name in ("six_loops", "framework_conv"))
    with tempfile.TemporaryDirectory() as cache:            # the reader's own card stays as it is
        os.environ["HPML_CACHE"] = cache
        card = machine_card(refresh=True)

    mine, older = Worker(solution), Worker(solution, OPENBLAS_CORETYPE="Haswell")
    theirs = Worker(solution + "\n" + baselines, "tensorflow")
    try:
        small = race({"gemm": (mine, "conv_gemm(x, w)"), "copy": (mine, "im2col(x, 3).reshape(2, 26, 26, 3, 48).reshape(-1, 144)"),
                      "framework": (theirs, "framework_conv(x, w)"), "older": (older, "conv_gemm(x, w)")}, (2, 28, 16, 32), 25, 0.02)
        loops = race({"gemm": (mine, "conv_gemm(x, w)"), "loops": (theirs, "six_loops(x, w)")}, (2, 28, 16, 32), 7, 0.05)
        ways = {f"{call}_{name}": (worker, f"conv_{call}(x, w{', 1_000_000' if call == 'tiled' else ''})")
                for name, worker in (("mine", mine), ("older", older)) for call in ("gemm", "tiled")}
        big = race({**ways, "framework": (theirs, "framework_conv(x, w)")}, (64, 56, 32, 32), 5, 0.02)
    finally:
        for worker in (mine, older, theirs):
            worker.close()

    draw(card, declared["conv_gemm"].work, loops, big)
    work = declared["conv_gemm"].work(lab.exercises["conv_gemm"].shape)
    seconds = statistics.median(small["gemm"])
    numbers = {
        "loops": f"{rounded(statistics.median(loops['loops']) * 1e3)} ms",
        "gemm": f"{rounded(seconds * 1e3)} ms",
        "ratio": rounded(ratio(loops, "loops", "gemm")),
        "mmacs": rounded(work.flops / 2e6),
        "percent": rounded(100 * work.flops / seconds / 1e9 / card.gemm_gflops(1)),
        "copy_share": rounded(100 * ratio(small, "copy", "gemm")),
        "intensity": rounded(work.intensity),
        "ridge": rounded(card.ridge(1)),
        "fraction": rounded(ratio(small, "framework", "gemm")),
        "fraction_avx2": rounded(ratio(small, "framework", "older")),
        "big_patches": rounded(64 * 54 * 54 * 9 * 32 * 4 / 1e6, 3),
        "big_output": rounded(64 * 54 * 54 * 32 * 4 / 1e6),
        "tiled_gain": rounded(ratio(big, "gemm_mine", "tiled_mine")),
        "big_gemm_fraction": rounded(ratio(big, "framework", "gemm_mine")),
        "big_tiled_fraction": rounded(ratio(big, "framework", "tiled_mine")),
        "big_gemm_fraction_avx2": rounded(ratio(big, "framework", "gemm_older")),
        "big_tiled_fraction_avx2": rounded(ratio(big, "framework", "tiled_older")),
        "here": f"{card.cpu}, one thread, {card.blas}",
    }
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
