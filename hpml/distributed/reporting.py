"""What a script tells its launcher: results and progress, as JSON lines on a channel that the launcher has opened."""

from __future__ import annotations

import json
import os
from typing import Any


def report(**values: Any) -> None:
    """Add named values to the run's JSON result, from any rank; where several ranks name the same value, the lowest rank's counts.

    NumPy arrays, tensors and Keras variables become numbers and lists. Without a launcher the values are printed.

    Raises:
        TypeError: if a value cannot be written as JSON.
    """
    _send({"report": values}) or print(json.dumps(values, default=_plain), flush=True)


def progress(done: float, total: float, **shown: Any) -> None:
    """Feed the launcher's progress bar: `done` of `total` (steps, images, …), and what to show beside it, such as `loss=0.4`."""
    _send({"progress": [float(done), float(total), {k: v if isinstance(v, str) else f"{float(v):.4g}" for k, v in shown.items()}]})


def _plain(value: Any) -> Any:
    if hasattr(value, "numpy"):
        value = value.numpy()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"report() takes numbers, texts, lists, dicts and arrays, not {type(value).__name__}")


def _send(message: dict[str, Any]) -> bool:
    line = (json.dumps(message, default=_plain) + "\n").encode()
    try:
        if path := os.environ.get("HPML_REPORT_FILE"):
            with open(path, "ab") as f:
                f.write(line)
        elif channel := os.environ.get("HPML_REPORT_FD"):
            fd, inode = map(int, channel.split(":"))
            if os.fstat(fd).st_ino != inode:            # a program that the rank started: the number means another file there
                return False
            view = memoryview(line)
            while view:
                view = view[os.write(fd, view):]
        else:
            return False
    except OSError:                     # the launcher is gone, or this is a child of a rank that closed the channel
        return False
    return True
