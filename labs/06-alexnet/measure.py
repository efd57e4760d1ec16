"""Measures what the lab's prose quotes: writes `measured.json`, `runs.json` (which lies beside the notebook) and the slides' figures.

Trains seven networks from several seeds, with the lab's own cells: about half an hour on two quiet cores. Run it again on a quiet machine:
`python measure.py`; `python measure.py --short` trains less, for a first look; `--draw` draws anew from the `runs.json` that is there;
`--full` only trains the whole network on all 60 000 pictures and writes `full.json`. All may run on a busy machine: no time is quoted.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from hpml import course, data, plots, source, widgets
from hpml.data import accuracy
from hpml.machine import card as machine_card

HERE = Path(__file__).parent
RUNS = HERE / "runs.json"
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}       # t of 95 %, by the number of seeds
CONVS, DENSE, BATCH = (4, 5), (7, 8), 64                                                # rows of `small`
NETWORKS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "all eight layers": ((), {}), "without conv3, conv4": (CONVS, {}), "without fc6, fc7": (DENSE, {}),
    "without all four": (CONVS + DENSE, {}), "conv1 and fc8 alone": ((2, 3, 4, 5, 6, 7, 8), {}),
    "without dropout": ((), {"dropout": 0}), "tanh for ReLU": ((), {"activation": "tanh"})}


def cells() -> dict[str, Any]:
    """The lab's given cells and solutions, run."""
    lab = course.load().lab("06-alexnet")
    found, names = source.read(lab), dict[str, Any]()
    for part in (*found.given.values(), *(found.answers[n] for n, e in lab.exercises.items() if e.kind == "code")):
        exec(part, names)
    return names


def scaled(found: data.Dataset) -> tuple[np.ndarray, ...]:
    """Pictures as the lab scales them: training pictures and labels, test pictures and labels."""
    x, x_test = (p.astype(np.float32) / 255 - np.float32(0.3) for p in (found.x_train, found.x_test))
    return x, found.y_train, x_test, found.y_test


def train(names: dict[str, Any], number: int, epochs: int, seeds: int) -> None:
    """All networks from all seeds; accuracies in per cent after each epoch. From the third seed on what is there is kept, seed by seed."""
    x, y, x_test, y_test = scaled(data.load(accuracy.EMBEDDED))
    tables = {name: np.delete(names["small"], gone, axis=0) for name, (gone, _) in NETWORKS.items()}
    counts = {name: [int(names[f](table, 28, 1).sum()) for f in ("parameters", "macs")] for name, table in tables.items()}
    curves: dict[str, list[list[float]]] = {name: [] for name in NETWORKS}
    for seed in range(1, seeds + 1):
        for name, (_, options) in NETWORKS.items():
            names["keras"].backend.clear_session()
            model = names["compiled"](tables[name], seed, **options)
            assert model.count_params() == counts[name][0]
            past = model.fit(x[:number], y[:number], BATCH, epochs, verbose=0, validation_data=(x_test, y_test), validation_batch_size=500)
            curves[name].append([round(100 * float(a), 2) for a in past.history["val_accuracy"]])
            print(f"seed {seed}, {name}: {curves[name][-1][-1]} %", flush=True)
        if seed >= 3:
            rest = [{"name": name, "parameters": counts[name][0], "macs": counts[name][1], "accuracy": [c[-1] for c in curves[name]],
                     "curves": curves[name]} for name in NETWORKS]
            record = {"pictures": number, "epochs": epochs, "t": STUDENT[seed], "machine": machine_card().cpu, "networks": rest}
            RUNS.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def full(names: dict[str, Any]) -> None:
    """The whole small network on all pictures."""
    def recognised(pictures: data.Dataset, epochs: int, seed: int) -> float:
        x, y, x_test, y_test = scaled(pictures)
        names["keras"].backend.clear_session()
        model = names["compiled"](names["small"], seed)
        model.fit(x, y, BATCH, epochs, verbose=0)
        return float(model.evaluate(x_test, y_test, batch_size=500, verbose=0)[1])

    accuracy.record(HERE, f"the small AlexNet, Adam(0.001), minibatches of {BATCH}", recognised, {accuracy.FULL: 4}, accuracy.SEEDS[:3])


def save(picture: Any, name: str, label: str) -> None:
    (HERE / "figures" / name).write_text(plots.svg(picture, label, paper=True) + "\n", encoding="utf-8")


def draw_places(names: dict[str, Any]) -> None:
    """Work against weights of AlexNet's eight layers."""
    table = names["alexnet"](1000)
    weights, work = names["parameters"](table, 227, 3), names["macs"](table, 227, 3)
    layers = ["conv1", "", "conv2", "", "conv3", "conv4", "conv5", "", "fc6", "fc7", "fc8"]
    picture, axis = plots.figure(8, 4.3)
    for reuse in (1, 10, 100, 1000):
        axis.loglog([1e4, 1e8], [reuse * 1e4, reuse * 1e8], "--", color="0.6", lw=1)
        left = max(1.4e4, 1.4e6 / reuse)
        axis.annotate(f"used {reuse:,} times" if reuse > 1 else "used once for a picture", (left, 1.25 * reuse * left), rotation=34,
                      rotation_mode="anchor", color="0.45", fontsize=11)
    for kind, chosen, mark in (("convolution", table[:, 1] * table[:, 0] > 0, "o"), ("dense", table[:, 1] == 0, "s")):
        label = f"{kind}: {weights[chosen].sum() / weights.sum():.0%} of weights, {work[chosen].sum() / work.sum():.0%} of work"
        axis.plot(weights[chosen], work[chosen], mark, ms=11, mec="white", label=label)
    for name, x, y in zip(layers, weights, work, strict=True):
        if x:
            near = {"conv4": (10, -10), "conv5": (-46, -12)}
            axis.annotate(name, (x, y), xytext=near.get(name, (9, 5)), textcoords="offset points", fontsize=12)
    axis.set(xlim=(1e4, 1e8), ylim=(1e6, 3e9), xlabel="weights of the layer", ylabel="MACs for a picture")
    axis.legend(loc="upper left", fontsize=12)
    save(picture, "places.svg", "work against weights of AlexNet's layers")


def draw_depth(record: dict[str, Any], table: np.ndarray) -> None:
    """The loss of every network with its interval."""
    picture, axis = plots.figure(8.5, 4)
    at = np.arange(len(table))
    axis.axvline(0, color="0.5", lw=1)
    runs = np.array([n["accuracy"] for n in record["networks"]])
    for n, row in enumerate(runs):
        axis.plot(runs[0] - row, np.full(len(row), n), ".", color="0.65", ms=9)
    axis.errorbar(table[1:, 2], at[1:], xerr=table[1:, 3], fmt="o", capsize=5, lw=2, ms=9)
    axis.set_yticks(at, [f"{n['name']}\n{n['parameters'] / 1e3:,.0f} k weights, {n['macs'] / 1e6:.1f} M MACs" for n in record["networks"]],
                    fontsize=11)
    axis.invert_yaxis()
    axis.set_xlabel(f"points of accuracy lost against {table[0, 0]:.1f} % (right is worse)", fontsize=12)
    save(picture, "depth.svg", "points lost by each network, with 95 % intervals")


def quoted(record: dict[str, Any], table: np.ndarray) -> dict[str, str]:
    """What the prose quotes, as text."""
    whole, networks = record["networks"][0], record["networks"]

    def lost(n: int) -> str:
        return f"{table[n, 2]:+.1f} ± {table[n, 3]:.1f}".replace("-", "−")

    def share(n: int, what: str) -> str:
        return f"{100 * networks[n][what] / whole[what]:.0f}"

    sure = [networks[n]["name"] for n in range(1, len(table)) if abs(table[n, 2]) > table[n, 3]]
    unsure = [networks[n]["name"] for n in range(1, len(table)) if abs(table[n, 2]) <= table[n, 3]]
    inside = f"Zero lies in the intervals of: {'; '.join(unsure)}; there they show nothing." if unsure else "No interval holds zero."
    shown = (f"The runs do show a difference for: {'; '.join(sure)}. " if sure else "") + inside
    return {
        "pictures": f"{record['pictures']:,}".replace(",", "\u2009"), "epochs": str(record["epochs"]), "seeds": str(len(whole["accuracy"])),
        "t": f"{record['t']:.3g}", "full": f"{table[0, 0]:.1f}",
        "conv_weights": share(1, "parameters"), "conv_macs": share(1, "macs"), "conv_lost": lost(1),
        "dense_weights": share(2, "parameters"), "dense_macs": share(2, "macs"), "dense_lost": lost(2),
        "four_weights": share(3, "parameters"), "four_macs": share(3, "macs"), "four_lost": lost(3),
        "two_macs": share(4, "macs"), "two_lost": lost(4),
        "shown": shown, "here": f"{record['machine']}, TensorFlow",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="2000 pictures, 4 epochs, 3 seeds")
    parser.add_argument("--draw", action="store_true", help="train nothing: take runs.json as it is")
    parser.add_argument("--full", action="store_true", help="only full.json: 60 000 pictures")
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    names = cells()
    if asked.full:
        return full(names)
    if not asked.draw:
        train(names, *((2000, 4, 3) if asked.short else (10_000, 12, 5)))
    record = json.loads(RUNS.read_text(encoding="utf-8"))
    table = names["ablation"](np.array([n["accuracy"] for n in record["networks"]]), record["t"])
    (HERE / "figures" / "layers.svg").write_text(widgets.layers_svg(with_memory=False) + "\n", encoding="utf-8")
    draw_places(names)
    draw_depth(record, table)
    numbers = quoted(record, table) | accuracy.quoted(HERE)
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
