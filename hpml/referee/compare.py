"""What a worker says it returned, read from its frozen memory and compared with the oracle. Everything here is hostile input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_EXTENT = 1 << 26
MAX_PEEK = 1 << 22           # elements of a misshapen result that are read to find a hint


class Tampered(Exception):
    """The worker's answer is not one that the worker program writes."""


@dataclass(frozen=True)
class Problem:
    """Why a result is not accepted; `got` is the value where there is one to show."""

    message: str
    got: Any = None
    not_attempted: bool = False
    imprecise: bool = False             # right, but for its last digits


@dataclass(frozen=True)
class Memory:
    """How to read a worker's memory: its arena's address, what was written there, and the rest."""

    base: int
    arguments: list[tuple[int, np.ndarray]]          # (offset in the arena, the referee's own copy)
    read: Callable[[int, int], bytes]


def _integers(values: Any, most: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) > most or not all(type(v) is int and abs(v) < 1 << 62 for v in values):
        raise Tampered("shape or strides are not short lists of integers")
    return tuple(values)


def _span(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """First and last-plus-one byte, relative to the address, that a strided array touches."""
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0) + itemsize
    return low, high


def fetch(said: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any], memory: Memory) -> tuple[np.ndarray, bool]:
    """The array a worker described, whose shape and dtype have been checked already; and whether it is a view of an argument."""
    strides = _integers(said.get("strides"), 32)
    address = said.get("address")
    if len(strides) != len(shape) or type(address) is not int:
        raise Tampered("a result without strides or address")
    if 0 in shape:
        return np.empty(shape, dtype), False
    low, high = _span(shape, strides, dtype.itemsize)
    if high - low > max(MAX_EXTENT, 8 * dtype.itemsize * math.prod(shape)):
        raise Tampered("a result that is spread over far more memory than it has numbers")
    for offset, own in memory.arguments:
        start = address + low - memory.base - offset
        if start >= 0 and start + high - low <= own.nbytes:
            flat = np.ascontiguousarray(own).reshape(-1).view(np.uint8)
            return _strided(flat[start:], shape, dtype, low, strides), True
    try:
        raw = memory.read(address + low, high - low)
    except (OSError, OverflowError, ValueError):
        raise Tampered("a result at an address where there is nothing") from None
    return _strided(np.frombuffer(raw, np.uint8), shape, dtype, low, strides), False


def _strided(flat: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any], low: int, strides: tuple[int, ...]) -> np.ndarray:
    return np.ndarray(shape, dtype, flat, -low, strides)


def accept(said: Any, expected: Any, tolerance: dict[str, float], memory: Memory, view: bool, name: str) -> tuple[Any, Problem | None]:
    """Compare one described result with what the oracle expects. Returns the value (where readable) and the first problem."""
    if isinstance(expected, tuple):
        if isinstance(said, list) and len(said) == len(expected):
            values, first = [], None
            for i, (s, e) in enumerate(zip(said, expected, strict=True)):
                value, problem = accept(s, e, tolerance, memory, view, f"{name}()[{i}]")
                values.append(problem.got if value is None and problem else value)
                first = first or problem
            if first:
                first = Problem(first.message, tuple(values) if all(v is not None for v in values) else None, first.not_attempted)
            return tuple(values), first
        if isinstance(said, dict) and said.get("type") == "NoneType":
            return None, Problem(f"`{name}` returned None. Is a `return` missing?")
        kind = f"a tuple of {len(said)}" if isinstance(said, list) else _kind(said)
        return None, Problem(f"`{name}` returned {kind}; expected a tuple of {len(expected)} arrays.")
    if not isinstance(said, dict):
        return None, Problem(f"`{name}` returned a tuple; expected one array.")
    if "shape" not in said:
        if said.get("type") == "NoneType":
            return None, Problem(f"`{name}` returned None. Is a `return` missing?")
        return None, Problem(f"`{name}` returned {_kind(said)}; expected a NumPy array.")
    shape = _integers(said["shape"], 32)
    if shape != expected.shape:
        return None, Problem(f"`{name}` returned shape {_shape(shape)}; expected {_shape(expected.shape)}.", _peek(said, shape, memory))
    if said.get("dtype") != expected.dtype.str:
        dtype = str(said.get("dtype"))[:12].lstrip("<>|=")
        names = {"f2": "float16", "f4": "float32", "f8": "float64", "i8": "int64", "i4": "int32"}
        return None, Problem(f"`{name}` returned {names.get(dtype, dtype)}; expected {expected.dtype}.", _peek(said, shape, memory))
    got, is_view = fetch(said, shape, expected.dtype, memory)
    if view and not is_view:
        return got, Problem(f"`{name}` returned a copy ({got.nbytes:,} bytes), not a view into its argument.", got)
    return got, _values(got, expected, tolerance, name)


def alike(value: Any, expected: Any) -> bool:
    """The same shapes and dtypes, whatever the values."""
    if isinstance(expected, tuple):
        return isinstance(value, tuple) and len(value) == len(expected) and all(map(alike, value, expected))
    return isinstance(value, np.ndarray) and value.shape == expected.shape and value.dtype == expected.dtype


def _peek(said: dict[str, Any], shape: tuple[int, ...], memory: Memory) -> np.ndarray | None:
    """A result of another shape or type, for the hints to look at; None if it is large or strange."""
    if said.get("dtype") not in ("<f2", "<f4", "<f8", "<i4", "<i8", "|b1") or max(shape, default=0) > MAX_PEEK\
            or math.prod(shape) > MAX_PEEK or min(shape, default=1) < 0:
        return None
    return fetch(said, shape, np.dtype(said["dtype"]), memory)[0]


def _values(got: np.ndarray, expected: np.ndarray, tolerance: dict[str, float], name: str) -> Problem | None:
    kind = str(expected.dtype)
    if expected.dtype.kind != "f":
        bad = got != expected
        if not bad.any():
            return None
    else:
        if np.isnan(got).any() and not np.isnan(expected).any():
            at = tuple(int(i) for i in np.argwhere(np.isnan(got))[0])
            return Problem(f"`{name}` holds NaN, first at {list(at)}.", got)
        allowed = tolerance.get(kind, 0.0) * float(np.abs(expected).max(initial=0.0))
        with np.errstate(all="ignore"):
            bad = ~(np.abs(got.astype(np.float64) - expected) <= allowed)
        if not bad.any():
            return None
        worst = float(np.abs(np.where(bad, got.astype(np.float64) - expected, 0)).max())
        scale = float(np.abs(expected).max(initial=0.0)) or 1.0
        if kind == "float32" and worst < 5e-3 * scale and np.isfinite(worst):
            return Problem(f"`{name}` is close, but not as precise as {kind} should be: the largest error is {worst / scale:.1e} of the "
                           f"largest value, {tolerance.get(kind, 0.0):.0e} is allowed. Is something computed in half precision?",
                           got, imprecise=True)
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    share = bad.mean()
    return Problem(f"`{name}` returned wrong values. First difference at output {list(at)}: expected {expected[at]:.6g}, "
                   f"got {got[at]:.6g} ({share:.0%} of the values differ).", got)


def _kind(said: Any) -> str:
    if isinstance(said, dict):
        word = str(said.get("type", "something else"))[:40]
        return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
    return "something else"


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
