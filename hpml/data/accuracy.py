"""What a lab's network recognises of Fashion-MNIST, embedded and full, from several seeds: `python labs/…/measure.py --full`.

Writes `full.json` beside the script that asks for it, and what the prose quotes of it into `measured.json`.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpml.data import Dataset, load

SEEDS = (1, 2, 3, 4, 5)
EMBEDDED, FULL = "fashion-mnist-mini", "fashion-mnist"
Train = Callable[[Dataset, int, int], float]            # (pictures, epochs, seed) → share of the test pictures that are recognised, 0 to 1


def record(folder: Path, what: str, train: Train, epochs: Mapping[str, int], seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Train from every seed on each set named in `epochs`, and write the accuracies, in per cent, as they come.

    what : the network and how it is trained, in words. Times are processor seconds of this process, evaluation included.
    Raises DataError where the full set has not been fetched.
    """
    from hpml.machine import card

    found: dict[str, Any] = {"network": what, "machine": card().cpu, "seeds": list(seeds), "sets": {}}
    for name, number in epochs.items():
        pictures = load(name)
        own: dict[str, Any] = {"trained": len(pictures.x_train), "tested": len(pictures.x_test), "epochs": number}
        found["sets"][name] = own | {"accuracy": [], "seconds": []}
        for seed in seeds:
            begin = time.process_time()
            share = train(pictures, number, seed)
            found["sets"][name]["accuracy"].append(round(100 * share, 2))
            found["sets"][name]["seconds"].append(round(time.process_time() - begin, 1))
            print(f"{what}; {name}, {number} epochs, seed {seed}: {100 * share:.2f} %", flush=True)
    (folder / "full.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path = folder / "measured.json"
    numbers = json.loads(path.read_text(encoding="utf-8")) | quoted(folder)
    path.write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def quoted(folder: Path) -> dict[str, str]:
    """What the prose quotes of `full.json`: mean and standard deviation over the seeds, on the full set. Nothing where it is not there."""
    path = folder / "full.json"
    if not path.is_file():
        return {}
    own = json.loads(path.read_text(encoding="utf-8"))["sets"][FULL]
    return {"all_accuracy": f"{statistics.mean(own['accuracy']):.1f}", "all_spread": f"{statistics.stdev(own['accuracy']):.1f}",
            "all_seeds": str(len(own["accuracy"])), "all_epochs": str(own["epochs"])}
