"""A worker's side of `hpml bench scaling`: takes one line of JSON, does so many steps, answers with one line. Standard library only."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

# As in lab 11: images of one worker's step, pixels, colours, classes, channels of the three stages, and the settings of SGD.
BATCH, SIDE, CHANNELS, CLASSES, WIDTHS = 64, 28, 1, 10, (16, 32, 64)
RATE, MOMENTUM = 0.05, 0.9


def images(seed: int) -> tuple[Any, Any]:
    """One batch in this worker's memory: float32 (BATCH, SIDE, SIDE, CHANNELS) and int32 (BATCH,)."""
    import numpy as np
    rng = np.random.default_rng(seed)
    return rng.standard_normal((BATCH, SIDE, SIDE, CHANNELS), dtype=np.float32), rng.integers(CLASSES, size=BATCH, dtype=np.int32)


def serve(modes: Mapping[str, Callable[[], Any]], parameters: int) -> None:
    """Answer requests until the pipe closes. `modes`: what one step is, by name; a step has ended when its call returns.

    A request is `{"mode": name, "steps": n}`, the answer `{"start": s, "end": s, "value": x}`: seconds of the monotonic clock, which all
    processes of a machine share, and what the last step returned. `parameters`: trainable numbers, told once at the start.
    """
    answers = os.fdopen(int(os.environ["HPML_ANSWERS"]), "w", buffering=1)      # not where libraries print
    answers.write(json.dumps({"parameters": parameters}) + "\n")
    for line in sys.stdin:
        wanted = json.loads(line)
        step = modes[wanted["mode"]]
        value = step()                              # not timed: after it the caches are warm and the ranks in step
        start = time.monotonic()
        for _ in range(wanted["steps"]):
            value = step()
        end = time.monotonic()
        answers.write(json.dumps({"start": start, "end": end, "value": float(value)}) + "\n")
    sys.stderr.flush()
    os._exit(0)                                     # a library's farewell to the other ranks may wait for ever
