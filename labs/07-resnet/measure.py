"""Measures the numbers that the lab's prose quotes: writes `measured.json`, `depth.json` (the long experiment, which the notebook shows),
and `depth.svg`, `accuracy.svg` and `signal.svg` in figures/ for the slides. Run it again on a quiet machine: `python measure.py`, about
10 minutes on two cores; `python measure.py --keep` leaves the trainings of `depth.json` as they are; `--full`
only trains the residual network of 20 layers on all 60 000 pictures and writes `full.json`; the machine may be busy then.

The networks are the reference solution's. Folding is timed by the referee.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hpml import course, data, exercise, plots, source, widgets
from hpml.data import accuracy
from hpml.machine import card as machine_card
from hpml.referee import judge
from hpml.referee.resources import LabReferee

HERE = Path(__file__).parent
SEEDS, DEPTHS, EPOCHS, BATCH, WIDTHS = (1, 2, 3), (20, 56), 5, 128, (8, 16, 32)
Runs = dict[str, list[Any]]                 # kind-depth → for each seed: errors on training and on test pictures, %, epoch by epoch


def halved(pictures: np.ndarray) -> np.ndarray:
    """Pictures of 28×28 as 14×14: the mean of 2×2 pixels, centred, as in the lab."""
    small = pictures.reshape(len(pictures), 14, 2, 14, 2, 1).mean((2, 4))
    return np.asarray(small.astype(np.float32) / np.float32(255) - np.float32(0.3))


def train(names: dict[str, Any], depth: int, residual: bool, seed: int, fashion: data.Dataset, epochs: int = EPOCHS) -> list[list[float]]:
    """Errors of one network, %, after each epoch: on the training pictures (as they went by) and on the test pictures."""
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = names["network"]((14, 14, 1), (depth - 2) // 6, residual, widths=WIDTHS)
    steps = epochs * -(-len(fashion.x_train) // BATCH)
    falling = keras.optimizers.schedules.CosineDecay(0.1, steps)
    model.compile(keras.optimizers.SGD(falling, momentum=0.9), metrics=["accuracy"],
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = model.fit(halved(fashion.x_train), fashion.y_train, batch_size=BATCH, epochs=epochs, verbose=0,
                      validation_data=(halved(fashion.x_test), fashion.y_test)).history
    return [[round(100 * (1 - a), 2) for a in found[name]] for name in ("accuracy", "val_accuracy")]


def experiment(names: dict[str, Any]) -> Runs:
    runs: Runs = {}
    fashion = data.load(accuracy.EMBEDDED)
    for seed in SEEDS:
        for depth in DEPTHS:
            for residual in (False, True):
                name = f"{'residual' if residual else 'plain'}-{depth}"
                runs.setdefault(name, []).append(train(names, depth, residual, seed, fashion))
                print(f"seed {seed}, {name}: {runs[name][-1][0][-1]} % on training, {runs[name][-1][1][-1]} % on test pictures", flush=True)
    return runs


def networks(text: source.Source) -> dict[str, Any]:
    """The reference solution's `network`."""
    names: dict[str, Any] = {}
    exec("\n".join([text.given["preamble"], text.given["framework"], text.given["reveal"], text.answers["resnet"]]), names)
    return names


def full(names: dict[str, Any]) -> None:
    """The residual network of 20 layers on all pictures, halved like the others."""
    def recognised(pictures: data.Dataset, epochs: int, seed: int) -> float:
        return 1 - train(names, 20, True, seed, pictures, epochs)[1][-1] / 100

    what = f"residual, 20 layers, widths {WIDTHS}, pictures of 14×14, SGD with momentum, minibatches of {BATCH}"
    accuracy.record(HERE, what, recognised, {accuracy.FULL: 3}, SEEDS)


def folding() -> float:
    """How many times as fast as the two steps the reference is, as the referee measures it for a reader."""
    with contextlib.closing(LabReferee("07-resnet")) as referee:
        verdict = judge.reference(referee, "fold")
    if not verdict.measured:
        sys.exit(f"`fold` could not be measured: {verdict.outcome}. {verdict.message}")
    return verdict.measured[0].ratio


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


def draw_depth(runs: Runs) -> None:
    """Training error, epoch by epoch: plain and residual, 20 layers and 56."""
    picture, axis = plots.figure(7.5, 4.3)
    for name, seeds in runs.items():
        kind, depth = name.split("-")
        colour, errors = {"plain": "C1", "residual": "C0"}[kind], np.array(seeds)[:, 0]
        epochs = range(1, errors.shape[1] + 1)
        axis.plot(epochs, errors.mean(0), "o--" if depth == "20" else "s-", color=colour,
                  label=f"{kind}, {depth} layers: {errors[:, -1].mean():.0f} %")
        axis.fill_between(epochs, errors.min(0), errors.max(0), color=colour, alpha=0.2, lw=0)
    axis.set(xlabel="epoch", ylabel="error on training pictures, %", ylim=(0, 125), xticks=epochs, yticks=range(0, 101, 20))
    axis.legend(fontsize=12, loc="upper right")
    large_text(axis)
    save(picture, "depth.svg", "training error of plain and residual networks of 20 and 56 layers")


def draw_accuracy(macs: dict[str, float], text: source.Source) -> None:
    """Top-1 accuracy against MACs: the lab's own cell, drawn for a slide."""
    cell = next(cell.source for cell in text.cells if cell.source.startswith("top1 = {"))
    said = [("AlexNet", 1.5), ("VGG19", 19.6), ("ResNet34", 3.6), ("ResNet152", 11.6)]
    names: dict[str, Any] = {"plots": plots, "macs": macs, "said": said}
    exec(cell.rsplit("\n", 1)[0], names)
    names["axis"].set_title("")
    large_text(names["axis"])
    save(names["figure"], "accuracy.svg", "top-1 accuracy against multiply-accumulates for thirteen models")


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    lab = course.load().lab("07-resnet")
    trusted, text = exercise.load_module(lab), source.read(lab)
    if "--full" in sys.argv:
        return full(networks(text))
    gain = folding()                        # first: a referee has no framework beside it
    with tempfile.TemporaryDirectory() as cache:            # the reader's own card stays as it is
        os.environ["HPML_CACHE"] = cache
        card = machine_card(refresh=True)

    kept = HERE / "depth.json"
    if "--keep" not in sys.argv:
        runs = experiment(networks(text))
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(seeds)}" for name, seeds in runs.items())
        kept.write_text("{" + lines + "}\n", encoding="utf-8")
    runs = json.loads(kept.read_text(encoding="utf-8"))
    error = {name: statistics.mean(seed[0][-1] for seed in seeds) for name, seeds in runs.items()}

    draw_depth(runs)
    draw_accuracy({name: float(trusted.count(json.dumps(rows))[2]) / 1e9 for name, rows in trusted.models().items()}, text)
    (HERE / "figures" / "signal.svg").write_text(widgets.depth_svg(56, 0.8) + "\n", encoding="utf-8")
    numbers = {
        "plain20": rounded(error["plain-20"]),
        "plain56": rounded(error["plain-56"]),
        "residual56": rounded(error["residual-56"]),
        "fold_gain": rounded(gain),
        "output_mb": rounded(56 * 56 * 256 * 4 / 1e6),
        "here": f"{card.cpu}, one thread, {card.blas}",
    } | accuracy.quoted(HERE)
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
