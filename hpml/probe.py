"""Measures one machine figure after another and prints them as JSON. Run by `machine.py` in a process of its own, because the number
of BLAS threads is settled when NumPy is imported: `python -I probe.py THREADS ARRAY_BYTES`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import threadpoolctl


def best(call: Callable[[], object], seconds: float, most: int = 12) -> float:
    """Least time of several calls, in seconds: at least two after a warm-up, until `seconds` are used."""
    call()
    took: list[float] = []
    began = time.perf_counter()
    while len(took) < 2 or (len(took) < most and time.perf_counter() - began < seconds):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)


def gemm(n: int) -> float:
    """float32 matrix product of n×n matrices, GFLOP/s: 2 n³ operations."""
    rng = np.random.default_rng(0)
    a, b = rng.random((n, n), dtype=np.float32), rng.random((n, n), dtype=np.float32)
    c = np.empty_like(a)
    return 2e-9 * n**3 / best(lambda: np.matmul(a, b, out=c), 0.6)


def bandwidth(threads: int, nbytes: int) -> dict[str, float]:
    """Copy (a = b) and add (a = b + c) on float64 arrays of `nbytes` each, GB/s of bytes read + bytes written (McCalpin's STREAM)."""
    a, b, c = (np.full(nbytes // 8, value) for value in (0.0, 1.0, 2.0))
    edges = np.linspace(0, a.size, threads + 1).astype(int)
    parts = [slice(lo, hi) for lo, hi in zip(edges[:-1], edges[1:], strict=True)]
    with ThreadPoolExecutor(threads) as pool:                   # NumPy lets go of the interpreter lock in both

        def everywhere(work: Callable[[slice], object]) -> Callable[[], object]:
            return (lambda: work(parts[0])) if threads == 1 else (lambda: list(pool.map(work, parts)))

        copied = best(everywhere(lambda s: np.copyto(a[s], b[s])), 0.25)
        added = best(everywhere(lambda s: np.add(b[s], c[s], out=a[s])), 0.25)
    return {"copy": 2e-9 * a.nbytes / copied, "add": 3e-9 * a.nbytes / added}


def overheads() -> dict[str, float]:
    """Nanoseconds of one call of an empty Python function, and of one NumPy addition of two arrays of one element."""
    def empty() -> None:
        pass

    x, y, add, often = np.ones(1), np.ones(1), np.add, range(20000)

    def python() -> None:
        for _ in often:
            empty()

    def numpy() -> None:
        for _ in often:
            add(x, x, y)

    def loop() -> None:
        for _ in often:
            pass

    idle = best(loop, 0.02)
    return {name: max(best(call, 0.1) - idle, 0.0) / len(often) * 1e9 for name, call in (("python", python), ("numpy", numpy))}


def blas() -> str:
    """NumPy's matrix library, with the kernels that it chose for this processor."""
    names = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "flexiblas": "FlexiBLAS"}
    for found in threadpoolctl.threadpool_info():
        if found["user_api"] == "blas":
            kernels = f" ({found['architecture']} kernels)" if found.get("architecture") else ""
            return f"{names.get(found['internal_api'], found['internal_api'])} {found.get('version') or ''}".strip() + kernels
    return "BLAS unknown"


def main(threads: int, nbytes: int) -> None:
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    n = 2048 if threads <= 8 else 4096
    wall, used = time.perf_counter(), time.process_time()
    found: dict[str, object] = {"blas": blas(), "gemm": gemm(n), "n": n}
    found["share"] = (time.process_time() - used) / (time.perf_counter() - wall) / threads       # of the time of its cores
    print(json.dumps({**found, **bandwidth(threads, nbytes), **(overheads() if threads == 1 else {})}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
