"""Measures the numbers that the lab's prose quotes: writes `measured.json`, and the slides' figures. Run it again on a quiet machine:
`python measure.py`, about three minutes; `--short` trains two networks instead of five of each kind, for a look. `--full` only trains
from several seeds, on the embedded pictures and on all 60 000, and writes `full.json`; the machine may be busy then.

Networks are those of the notebook: Adam(0.002), minibatches of 64, ten epochs, all 10 000 pictures of the embedded set. Accuracies are
means over seeds. Pooling is timed by the referee.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from hpml import course, data, exercise, plots, source, widgets
from hpml.data import accuracy
from hpml.machine import card as machine_card
from hpml.referee import judge
from hpml.referee.resources import LabReferee

HERE = Path(__file__).parent
SEEDS, EPOCHS, DISTANCES = 5, 10, range(7)


def pooling() -> float:
    """How many times as fast as the loops the reference is, as the referee measures it for a reader."""
    with contextlib.closing(LabReferee("05-lenet")) as referee:
        verdict = judge.reference(referee, "pool")
    found = [m.ratio for m in verdict.measured if m.target == "speedup"]
    return found[0] if found else sys.exit(f"`pool` could not be measured: {verdict.outcome}. {verdict.message}")


def rounded(value: float, digits: int = 2) -> str:
    """So many significant digits, without an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u2009")


def save(picture: Any, name: str, label: str) -> None:
    (HERE / "figures" / name).write_text(plots.svg(picture, label, paper=True) + "\n", encoding="utf-8")


def draw_smaller(shown: np.ndarray) -> None:
    """Two pictures, at 28, 14 and 7 pixels a side, made smaller in four ways."""
    def quarters(x: np.ndarray) -> np.ndarray:
        return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])

    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "every other pixel": lambda x: quarters(x)[0], "mean of four": lambda x: quarters(x).mean(0),
        "largest of four": lambda x: quarters(x).max(0), "smallest of four": lambda x: quarters(x).min(0)}
    picture, axes = plots.figure(10, 4.4, rows=4, columns=6)
    for row, (name, smaller) in zip(axes, ways.items(), strict=True):
        half = smaller(shown)
        for n, x in enumerate((shown, half, smaller(half))):
            for place, one in zip((n, n + 3), x, strict=True):
                row[place].imshow(one[:, :, 0], cmap="gray_r", vmin=0, vmax=1)
                row[place].set_xticks([])
                row[place].set_yticks([])
                row[place].grid(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=13)
    for place, side in enumerate((28, 14, 7) * 2):
        axes[0, place].set_title(f"{side}×{side}", fontsize=12)
    save(picture, "smaller.svg", "two pictures, made smaller in four ways")


def draw_lenet(boot: np.ndarray) -> None:
    """The layers of LeNet-5, from left to right, as stacks of maps and bars of numbers."""
    stages = [(28, 1, "picture\n28×28"), (28, 6, "convolution 5×5\n6 of 28×28"), (14, 6, "pooling 2×2\n6 of 14×14"),
              (10, 16, "convolution 5×5\n16 of 10×10"), (5, 16, "pooling 2×2\n16 of 5×5")]
    picture, axis = plots.figure(10.5, 3.1)
    left = 0.0
    for n, (side, maps, words) in enumerate(stages):
        shift = min(1.6, 16 / maps)
        for m in reversed(range(maps)):
            at = left + m * shift, -side / 2 + m * shift
            axis.add_patch(plots.mpl.patches.Rectangle(at, side, side, fc=plots.CYCLE[5] if n % 2 else "#ffffff", ec=plots.INK, lw=0.8))
        if n == 0:
            axis.imshow(boot, cmap="gray_r", extent=(0, side, -side / 2, side / 2), aspect="auto", zorder=3)
        axis.text(left + side / 2 + 3, -24, words, ha="center", va="top", fontsize=11)
        left += side + maps * shift + 13
    for width, words in ((120, "dense\n120"), (84, "dense\n84"), (10, "dense\n10")):
        axis.add_patch(plots.mpl.patches.Rectangle((left, -width / 5), 3, width / 2.5, fc=plots.CYCLE[4], ec=plots.INK, lw=0.8))
        axis.text(left + 1.5, -27 if width > 10 else -24, words, ha="center", va="top", fontsize=11)
        left += 20
    axis.set(xlim=(-2, left), ylim=(-40, 32), aspect="equal")
    axis.set_axis_off()
    save(picture, "lenet.svg", "the layers of LeNet-5")


def draw_counts(parameters: np.ndarray, macs: np.ndarray, names: list[str]) -> None:
    """Shares of the layers: of the parameters above, of the multiply-accumulates below."""
    picture, axes = plots.figure(9, 2.8, rows=2)
    for axis, values, what in ((axes[0], parameters, "numbers to learn"), (axes[1], macs, "MACs")):
        left = 0.0
        for n, name in enumerate(names):
            share = 100 * values[n] / values.sum()
            blue = name.startswith("conv")
            axis.barh(0, share, left=left, color=plots.CYCLE[0 if blue else 4], edgecolor="white", linewidth=2)
            if share > 6:
                axis.text(left + share / 2, 0, f"{name}\n{share:.0f} %", ha="center", va="center", color="white" if blue else "black",
                          fontsize=10.5)
            left += share
        axis.set_yticks([0], [f"{values.sum():,}\n{what}".replace(",", "\u2009")], fontsize=12)
        axis.set_xlim(0, 100)
        axis.grid(False)
    axes[0].set_xticks([])
    axes[1].set_xlabel("share, %; blue: convolutions, orange: dense layers", fontsize=12)
    save(picture, "counts.svg", "shares of parameters and of multiply-accumulates")


def draw_maps(model: Any, pictures: np.ndarray) -> None:
    """The six kernels of the first convolution, and for each picture its maps after the first and the second one."""
    import keras

    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    early, late = (np.asarray(maps) for maps in keras.Model(model.inputs[0], [layer.output for layer in convolutions])(pictures))
    kernels = convolutions[0].get_weights()[0][:, :, 0]
    drawn, axes = plots.figure(10, 4.3, rows=3, columns=7)
    limit = np.abs(kernels).max()
    for axis in axes.flat:
        axis.set_axis_off()
    axes[1, 0].imshow(pictures[0, :, :, 0], cmap="gray_r")
    busy = np.argsort(-late[0].sum((0, 1)))
    for q in range(6):
        axes[0, q + 1].imshow(kernels[:, :, q], cmap="PuOr", vmin=-limit, vmax=limit)
        axes[1, q + 1].imshow(early[0, :, :, q], cmap="magma")
        axes[2, q + 1].imshow(late[0, :, :, busy[q]], cmap="magma")
    for row, words in ((0, "six kernels"), (2, "second\nconvolution")):
        axes[row, 0].text(0.95, 0.5, words, ha="right", va="center", transform=axes[row, 0].transAxes, fontsize=12)
    save(drawn, "maps.svg", "kernels and feature maps of a trained LeNet-5")


def draw_moved(found: dict[str, np.ndarray]) -> None:
    """Recognised test pictures over the distance of the move: means and standard deviations over seeds."""
    picture, axis = plots.figure(8, 4)
    for (name, values), mark in zip(found.items(), "os", strict=True):
        spread = values.std(0, ddof=1) if len(values) > 1 else 0 * values[0]
        axis.errorbar(DISTANCES, values.mean(0), spread, fmt=mark + "-", capsize=4, label=name)
    axis.axhline(10, color="0.5", ls="--", lw=1)
    axis.annotate("guessing", (0, 12), fontsize=12)
    axis.set(xlabel="moved by, pixels", ylabel="recognised, %", ylim=(0, 100))
    axis.tick_params(labelsize=12)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set_size(13)
    axis.legend(fontsize=13)
    save(picture, "moved.svg", "recognised pictures over the distance that they were moved")


def shifted(x: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (6, 6), (6, 6), (0, 0)))
    return padded[:, 6 - down:34 - down, 6 - right:34 - right]


def trained(build: Callable[[], Any], pictures: data.Dataset, seed: int, epochs: int = EPOCHS, distances: Sequence[int] = DISTANCES,
            ) -> tuple[Any, list[float]]:
    """A network trained as in the notebook, and the per cent that it recognises of test pictures moved by so many pixels."""
    import keras

    x, x_test = (a.astype(np.float32) / 255 for a in (pictures.x_train, pictures.x_test))
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile(keras.optimizers.Adam(0.002), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, pictures.y_train, batch_size=64, epochs=epochs, verbose=0)
    found = []
    for d in distances:
        ways = [(d, 0), (-d, 0), (0, d), (0, -d)] if d else [(0, 0)]
        right = [(model.predict(shifted(x_test, *way), batch_size=500, verbose=0).argmax(1) == pictures.y_test).mean() for way in ways]
        found.append(100 * float(np.mean(right)))
    return model, found


def full(names: dict[str, Any]) -> None:
    """LeNet-5 from several seeds, on the embedded pictures and on all."""
    def recognised(pictures: data.Dataset, epochs: int, seed: int) -> float:
        return trained(names["lenet"], pictures, seed, epochs, [0])[1][0] / 100

    epochs = {accuracy.EMBEDDED: EPOCHS, accuracy.FULL: EPOCHS}
    accuracy.record(HERE, "LeNet-5, Adam(0.002), minibatches of 64", recognised, epochs, accuracy.SEEDS[:3])


def main() -> None:
    only_full = "--full" in sys.argv
    gain = 0.0 if only_full else pooling()  # first: a referee has no framework beside it
    lab = course.load().lab("05-lenet")
    text, trusted = source.read(lab), exercise.load_module(lab)
    names: dict[str, Any] = {}
    exec("\n".join([*text.given.values(), *(text.answers[n] for n, e in lab.exercises.items() if e.kind == "code")]), names)
    if only_full:
        return full(names)
    pictures = data.load("fashion-mnist-mini")
    boot = pictures.x_train[pictures.y_train == 9][0, :, :, 0]
    parameters, macs = names["count"](names["LENET"], 28, 1)
    plain_parameters, plain_macs = names["count"]("dense width=128\ndense width=10", 28, 1)
    layers = [f"{layer.kind} {layer.width}" for layer in names["layers"](names["LENET"])]
    draw_smaller(np.stack([pictures.x_train[pictures.y_train == label][3] for label in (8, 5)]).astype(np.float32) / 255)
    draw_lenet(boot)
    draw_counts(parameters, macs, layers)
    (HERE / "figures" / "field.svg").write_text(widgets.receptive_field_svg(picture=boot) + "\n", encoding="utf-8")

    import keras

    def dense() -> Any:
        return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(128, activation="relu"),
                                 keras.layers.Dense(10)])

    seeds = 2 if "--short" in sys.argv else SEEDS
    found: dict[str, Any] = {"LeNet-5": [], "dense, 784 → 128 → 10": []}
    for seed in range(seeds):
        for name, build in zip(found, (names["lenet"], dense), strict=True):
            model, curve = trained(build, pictures, seed)
            found[name].append(curve)
            print(name, seed, [round(v, 1) for v in curve], flush=True)
            if seed == 0 and build is not dense:
                draw_maps(model, pictures.x_test[pictures.y_test == 9][1:2].astype(np.float32) / 255)
    curves = {name: np.array(values) for name, values in found.items()}
    draw_moved(curves)
    lenet, plain = curves.values()
    convolution = [n for n, name in enumerate(layers) if name.startswith("conv")]
    numbers = {
        "dense_still": rounded(plain[:, 0].mean()), "dense_moved": rounded(plain[:, 2].mean()),
        "lenet_still": rounded(lenet[:, 0].mean()), "lenet_moved": rounded(lenet[:, 2].mean()),
        "fewer": rounded(100 - 100 * parameters.sum() / plain_parameters.sum()), "more": rounded(macs.sum() / plain_macs.sum()),
        "pool_gain": rounded(gain), "seeds": str(seeds), "reach": str(trusted.REACH),
        "reach_timed": str(lab.exercises["train"].shape["reach"]),
        "conv_parameters": rounded(100 * parameters[convolution].sum() / parameters.sum()),
        "conv_macs": rounded(100 * macs[convolution].sum() / macs.sum()),
        "here": f"embedded Fashion-MNIST, 10\u2009000 pictures, {EPOCHS} epochs; {machine_card().cpu}",
    } | accuracy.quoted(HERE)
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
