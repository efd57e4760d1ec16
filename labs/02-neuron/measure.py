"""Measures the numbers that the lab's prose quotes: writes `measured.json`, and `batch.svg`, `learned.svg` and `playground.svg` in figures/
for the slides. Run it again on a quiet machine: `python measure.py`. `--full` only trains from several seeds, on the embedded pictures and
on all 60 000, and writes `full.json`; the machine may be busy then.

The reference solution runs in this process, on one core with one thread; what is written are medians of blocks of processor time.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hpml import course, data, exercise, plots, source, widgets
from hpml.data import accuracy
from hpml.machine import card as machine_card

HERE = Path(__file__).parent
EPOCHS, RATE, BATCH = 20, 0.05, 32


def seconds(function: Callable[..., Any], *args: Any, least: float = 0.03, blocks: int = 15) -> float:
    """Processor seconds of one call: the median of blocks of at least `least` seconds, after one to warm up."""
    times: list[float] = []
    for _ in range(blocks + 1):
        calls, begin = 0, time.process_time()
        while (spent := time.process_time() - begin) < least:
            function(*args)
            calls += 1
        times.append(spent / calls)
    return statistics.median(times[1:])


def rounded(value: float, digits: int = 2) -> str:
    """So many significant digits, without an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u2009")


def large_text(axis: Any) -> None:
    """Letters that can be read at the size of a slide."""
    axis.tick_params(labelsize=12)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set_size(13)


def save(picture: Any, name: str, label: str) -> None:
    (HERE / "figures" / name).write_text(plots.svg(picture, label, paper=True) + "\n", encoding="utf-8")


def draw_batch(card: Any, batches: list[int], each: np.ndarray) -> None:
    """Time for one picture over the size of the batch, and its two limits."""
    many = np.geomspace(1, batches[-1], 200)
    arithmetic = 2 * 784 * 128 / (card.gemm_gflops(1) * 1e3) + 0 * many
    memory = 4 * (784 + 128 + (784 * 128 + 128) / many) / (card.bandwidth_gbs(1) * 1e3)
    picture, axis = plots.figure(7.5, 4.2)
    axis.loglog(batches, each * 1e6, "o-", label="a layer 784 → 128", base=2)
    axis.loglog(many, memory, ":", color=plots.INK, lw=1.6, base=2, label="memory: weights fetched once a batch")
    axis.loglog(many, arithmetic, "--", color=plots.INK, lw=1.2, base=2, label="arithmetic at the peak")
    axis.set_xticks(batches, batches)
    axis.set_yticks([1, 2, 5, 10, 20, 50], [1, 2, 5, 10, 20, 50])
    axis.minorticks_off()
    axis.set(xlabel="pictures in a batch, N", ylabel="time for one picture, µs",
             ylim=(0.5 * arithmetic[0], 1.6 * max(memory[0], each.max() * 1e6)))
    axis.legend(fontsize=12)
    large_text(axis)
    save(picture, "batch.svg", "time for one picture over the size of the batch")


def draw_learned(weights: Any, began: np.ndarray, table: np.ndarray, names: list[str]) -> None:
    """What sixteen of the neurons have learned, and the confusion matrix."""
    picture, axes = plots.figure(10, 4.2, rows=4, columns=6, width_ratios=[1, 1, 1, 1, 0.3, 5.4])
    for k, at in zip(np.argsort(-np.abs(weights[2]).sum(1))[:16], np.ndindex(4, 4), strict=True):
        looks_for = (weights[0] - began)[:, k].reshape(28, 28)
        axes[at].imshow(looks_for, cmap="PuOr", vmin=-np.abs(looks_for).max(), vmax=np.abs(looks_for).max())
        axes[at].set_axis_off()
    grid = axes[0, 5].get_gridspec()
    for axis in (*axes[:, 4], *axes[:, 5]):
        axis.remove()
    axis = picture.add_subplot(grid[:, 5], axes_class=plots.Panel)
    axis.imshow(np.sqrt(table), cmap="Blues", aspect="auto")
    for (truth, said), count in np.ndenumerate(table):
        if count:
            axis.text(said, truth, count, ha="center", va="center", color="white" if count > 90 else "black", fontsize=9)
    axis.set_xticks(range(10), names, rotation=40, ha="right")
    axis.set_yticks(range(10), names)
    axis.grid(False)
    axis.set(xlabel="taken for", ylabel="is")
    save(picture, "learned.svg", "weights of sixteen hidden neurons, and what the network takes for what")


def full(names: dict[str, Any]) -> None:
    """The lab's network from several seeds, on the embedded pictures and on all."""
    def recognised(pictures: data.Dataset, epochs: int, seed: int) -> float:
        x, x_test = (a.reshape(len(a), -1).astype(np.float32) / np.float32(255) - np.float32(0.3)
                     for a in (pictures.x_train, pictures.x_test))
        w1, b1, w2, b2 = names["train"](x, pictures.y_train, *names["start"](128, seed), epochs, RATE, BATCH, seed)
        scores = names["dense"](x_test, w1, b1) @ w2 + b2
        return float((scores.argmax(1) == pictures.y_test).mean())

    what = f"784 → 128 → 10, rate {RATE}, minibatches of {BATCH}"
    accuracy.record(HERE, what, recognised, {accuracy.EMBEDDED: EPOCHS, accuracy.FULL: EPOCHS})


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    threadpool_limits(1)
    lab = course.load().lab("02-neuron")
    trusted, text = exercise.load_module(lab), source.read(lab)
    names: dict[str, Any] = {}
    exec("\n".join([text.given["preamble"], *(text.answers[n] for n, e in lab.exercises.items() if e.kind == "code")]), names)
    start: dict[str, Any] = dict(names)
    exec(next(cell.source for cell in text.cells if cell.source.startswith("def start(")), start)
    if "--full" in sys.argv:
        return full(start)
    dense, train = names["dense"], names["train"]
    with tempfile.TemporaryDirectory() as cache:            # the reader's own card stays as it is
        os.environ["HPML_CACHE"] = cache
        card = machine_card(refresh=True)

    x, y, x_test, y_test = trusted.clothes()
    x, x_test = (a.reshape(len(a), -1).astype(np.float32) / np.float32(255) - np.float32(0.3) for a in (x, x_test))
    weights, spent = start["start"](128, seed=0), 0.0
    for epoch in range(EPOCHS):
        begin = time.process_time()
        weights = train(x, y, *weights, epochs=1, rate=RATE, batch=BATCH, seed=epoch)
        spent += time.process_time() - begin
    w1, b1, w2, b2 = weights

    def forward(pictures: np.ndarray) -> np.ndarray:
        found: np.ndarray = dense(pictures, w1, b1) @ w2 + b2
        return found

    taken = forward(x_test).argmax(1)
    table = np.zeros((10, 10), int)
    np.add.at(table, (y_test, taken), 1)
    one, many = seconds(forward, x[:1]), seconds(forward, x[:256])
    batches = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
    each = np.array([seconds(dense, x[:n], w1, b1) / n for n in batches])
    draw_batch(card, batches, each)
    draw_learned(weights, start["start"](128, seed=0)[0], table, list(trusted.NAMES))
    (HERE / "figures" / "playground.svg").write_text(widgets.playground_svg("ring", 6) + "\n", encoding="utf-8")

    macs, parameters = 784 * 128 + 128 * 10, sum(w.size for w in weights)
    numbers = {
        "parameters": rounded(parameters, 6),
        "one": f"{rounded(one * 1e6)} µs",
        "many": f"{rounded(many * 1e6)} µs",
        "times": rounded(many / one),
        "train": f"{rounded(spent)} s",
        "accuracy": rounded(100 * float((taken == y_test).mean())),
        "reach": rounded(trusted.REACH),
        "passes": rounded(2 * parameters, 6),
        "ridge": rounded(card.ridge(1)),
        "single": f"{rounded(each[0] * 1e6)} µs",
        "company": f"{rounded(each[batches.index(256)] * 1e6)} µs",
        "macs_picture": rounded(macs / 1e3, 3),
        "macs_training": rounded(EPOCHS * len(x) * (2 * macs + 1280) / 1e9),
        "here": f"{card.cpu}, one thread, {card.blas}",
    } | accuracy.quoted(HERE)
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
