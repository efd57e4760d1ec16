"""Measures one GPU through Keras and prints its figures as JSON. Run by `machine.py` in a process of its own: `python -I probe_gpu.py`.

Every measurement ends with the copy of one number to the host, which waits for the device.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def best(call: Callable[[], object], seconds: float) -> float:
    """Least time of several calls, in seconds, after a warm-up of the same length, in which the clock of the device rises."""
    took: list[float] = []
    for _ in range(2):
        took.clear()
        began = time.perf_counter()
        while len(took) < 3 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            call()
            took.append(time.perf_counter() - start)
    return min(took)


def main() -> int:
    import keras
    from keras import ops

    if keras.backend.backend() == "torch":
        import torch
        name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    else:
        import tensorflow as tf
        found = tf.config.list_physical_devices("GPU")
        name = tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU") if found else None
    if name is None:
        print(f"Keras' {keras.backend.backend()} backend sees no GPU", file=sys.stderr)
        return 1

    def wait(x: Any) -> None:
        ops.convert_to_numpy(ops.reshape(x, (-1,))[:1])

    n, often = 8192, 16
    figures: dict[str, Any] = {"name": name, "gemm_n": n, "backend": keras.backend.backend()}
    for key, dtype in (("gemm", "float32"), ("gemm_half", "bfloat16")):
        a = ops.cast(keras.random.uniform((n, n), seed=1), dtype)
        b = ops.cast(keras.random.uniform((n, n), seed=2), dtype)
        figures[key] = 2e-9 * n**3 / best(lambda a=a, b=b: wait(ops.matmul(a, b)), 0.5)             # type: ignore[misc]
    x = keras.random.uniform((1 << 28,), seed=3)                # 1 GiB
    figures["copy_gbs"] = 2e-9 * 4 * (1 << 28) / best(lambda: wait(x + 1.0), 0.3)
    small = ops.ones((1,))

    def launches() -> None:
        y = small
        for _ in range(often):
            y = y + 1.0
        wait(y)

    empty = best(lambda: wait(small), 0.1)
    figures["launch_us"] = max(0.0, best(launches, 0.2) - empty) / often * 1e6
    figures["round_trip_us"] = empty * 1e6
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
