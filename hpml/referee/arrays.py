"""Arrays as header plus bytes, for the trusted processes; and where arguments lie in a worker's arena."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpml.exercise import PerRank

ALIGN = 64


def pack(value: Any) -> tuple[Any, list[bytes]]:
    """A tuple of arrays and plain numbers, nested at will → JSON description and the arrays' bytes in order."""
    if isinstance(value, PerRank):
        description, chunks = pack(value.values)
        return {"ranks": description}, chunks
    if isinstance(value, (tuple, list)):
        parts = [pack(v) for v in value]
        return {"tuple": [d for d, _ in parts]}, [b for _, chunk in parts for b in chunk]
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "dtype": value.dtype.str}, [np.ascontiguousarray(value).tobytes()]
    if isinstance(value, np.generic):
        value = value.item()
    return {"value": value}, []


def unpack(description: Any, body: memoryview) -> tuple[Any, memoryview]:
    """The inverse; returns the value and what is left of the body."""
    if "ranks" in description:
        value, body = unpack(description["ranks"], body)
        return PerRank(value), body
    if "tuple" in description:
        out = []
        for d in description["tuple"]:
            value, body = unpack(d, body)
            out.append(value)
        return tuple(out), body
    if "value" in description:
        return description["value"], body
    dtype = np.dtype(description["dtype"])
    size = dtype.itemsize * int(np.prod(description["shape"], dtype=np.int64))
    return np.frombuffer(body[:size], dtype).reshape(description["shape"]), body[size:]


def layout(calls: list[tuple[Any, ...]]) -> tuple[list[list[dict[str, Any]]], int]:
    """Where each argument of each call lies in the arena: descriptions for the worker, and the bytes needed."""
    at, out = 0, []
    for call in calls:
        row: list[dict[str, Any]] = []
        for a in call:
            if isinstance(a, np.ndarray):
                row.append({"offset": at, "shape": a.shape, "dtype": a.dtype.str})
                at += -(-a.nbytes // ALIGN) * ALIGN
            else:
                row.append({"value": a})
        out.append(row)
    return out, at


def write(arena: np.ndarray, specs: list[list[dict[str, Any]]], calls: list[tuple[Any, ...]]) -> None:
    """Put the arguments into the arena (uint8, flat)."""
    for row, call in zip(specs, calls, strict=True):
        for spec, a in zip(row, call, strict=True):
            if isinstance(a, np.ndarray):
                arena[spec["offset"]: spec["offset"] + a.nbytes] = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
