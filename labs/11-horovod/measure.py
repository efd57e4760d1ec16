"""Measures the numbers that the lab's prose quotes: writes `measured.json`, and `figures/scaling.svg` for the slides.
Run it again on a quiet machine: `python measure.py`.

The reference solution runs as in the notebook: alone, two copies that say nothing, two workers that average in one group, and one
allreduce after the other; one thread and one core each, in turns; what is written are medians. The timeline is that of `train.py`.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hpml import course, data, exercise, plots, source
from hpml.distributed import launch, run_ranks
from hpml.machine import card as machine_card

HERE = Path(__file__).parent
MINE, BATCH, ROUNDS = 512, 128, 7               # pictures of each worker in a round, and in a step
PUBLISHED = {"Inception V3, ResNet-101": (90, "^"), "VGG-16": (68, "v")}        # per cent, 512 GPUs, Horovod's documentation
RACE = """
import time
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
grouped = average_gradients


def one_by_one(*gradients):
    return tuple(hvd.allreduce(g, name=f"gradient {i}").numpy() for i, g in enumerate(gradients))


def main(images, labels, weights, rounds, batch):
    global average_gradients
    ways = {"alone": lambda *gradients: gradients, "grouped": grouped, "one by one": one_by_one}
    seconds = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, function in ways.items():
            average_gradients = function
            hvd.allreduce(np.zeros(1), name="all begin together")
            begin = time.perf_counter()
            train(images, labels, batch, turn, 11, 0.02, *weights)
            if turn:
                seconds[way].append(time.perf_counter() - begin)
    return seconds
"""


def race(program: str, number: int, weights: list[np.ndarray]) -> dict[str, list[float]]:
    """Pictures a second of all workers together, round by round; the slowest worker of a round counts."""
    pictures = data.load("fashion-mnist-mini")
    images = pictures.x_train[: MINE * number].astype(np.float32) / 255
    # an equal share of the cores for each worker, and so one for the only one where there are two
    keep = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(keep[-number:]))
    try:
        found = run_ranks(program, number, (images, pictures.y_train[: MINE * number], weights, ROUNDS, BATCH), pin=True, timeout=600)
    finally:
        os.sched_setaffinity(0, set(keep))
    return {way: [MINE * number / max(times) for times in zip(*(rank[way] for rank in found), strict=True)] for way in found[0]}


def waits(solution: str) -> np.ndarray:
    """Median ms in negotiation, median ms in allreduce, share that was fused: of train.py on two workers, by the reference solution."""
    names: dict[str, Any] = {}
    exec("import json\nimport numpy as np\n" + solution, names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.json"
        launch(HERE / "train.py", np=2, args=["--epochs", 3, "--timeline", path], shown=False)
        found: np.ndarray = names["read_timeline"](path.read_text(encoding="utf-8"))
    return found


def rounded(value: float, digits: int = 3) -> str:
    """So many significant digits, without an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.10g}".replace(",", "\u2009")


def draw(one: float, top: float, reached: float) -> None:
    """Efficiency here, of N times one worker, under the ceiling; and as published for 512 GPUs."""
    picture, axis = plots.figure(7.5, 3.9)
    axis.semilogx([1, 512], [100, 100], "--", color="0.5", lw=1, base=2)
    axis.plot([1, 2], [100, 50 * top / one], "s--", label="here: ceiling of the machine")
    axis.plot([1, 2], [100, 50 * reached / one], "o-", label=f"here: two workers, {reached / top:.0%} of the ceiling")
    for name, (percent, mark) in PUBLISHED.items():
        axis.plot([512], [percent], mark, ms=11, label=f"published: {name}, {percent} %")
    axis.set_xticks([1, 2, 8, 64, 512], ["1", "2", "8", "64", "512"])
    axis.set(xlabel="workers", ylabel="speed, % of N times one", ylim=(0, 109))
    axis.tick_params(labelsize=13)
    for label in (axis.xaxis.label, axis.yaxis.label):
        label.set_size(13)
    axis.legend(loc="lower left", fontsize=12)
    (HERE / "figures" / "scaling.svg").write_text(plots.svg(picture, "scaling efficiency", paper=True) + "\n", encoding="utf-8")


def main() -> None:
    lab = course.parse((course.ROOT / "course.yml").read_text(encoding="utf-8")).lab("11-horovod")
    text, trusted = source.read(lab), exercise.load_module(lab)
    parts = [*(text.given[name] for name in ("preamble", "horovod", "network")),
             *(text.answers[name] for name in ("shard", "same_start", "average_gradients", "train")), RACE]
    weights = trusted.initial(np.random.default_rng(11))
    with tempfile.TemporaryDirectory() as cache:            # the reader's own card stays as it is
        os.environ["HPML_CACHE"] = cache
        card = machine_card(refresh=True)
        alone, both = race("\n".join(parts), 1, weights), race("\n".join(parts), 2, weights)
        waiting, moving, _ = waits(text.answers["read_timeline"])
    one = statistics.median(alone["alone"])
    copies, grouped, slow = (statistics.median(both[way]) for way in ("alone", "grouped", "one by one"))
    efficiency = statistics.median(a / b for a, b in zip(both["grouped"], both["alone"], strict=True))
    draw(one, copies, efficiency * copies)
    numbers = {
        "one": rounded(one), "copies": rounded(copies), "grouped": rounded(grouped), "one_by_one": rounded(slow, 2),
        "ceiling": rounded(copies / one), "efficiency": rounded(100 * efficiency, 2), "naive": rounded(50 * grouped / one, 2),
        "tensors": str(len(weights)), "kilobytes": rounded(trusted.BYTES / 1000),
        "waiting": rounded(waiting, 2), "moving": rounded(moving, 2),
        "here": f"{card.cpu}, {card.cores} cores, one for each worker",
    }
    (HERE / "measured.json").write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(numbers, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
