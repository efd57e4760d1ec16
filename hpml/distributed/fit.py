"""What a link costs, from measurements: seconds = α + β · bytes, with an α and a β for each range of sizes.

One α and one β do not describe a real link: short messages go eagerly, long ones by agreement between both sides, and what exceeds a cache
moves at the speed of memory. So `fit` cuts the sizes into ranges, each with its own line, where that describes the samples best.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hpml.distributed.network import Link


@dataclass(frozen=True)
class Piece:
    """One range of sizes: up to `upto` bytes, a message of n bytes takes alpha + beta · n seconds."""

    upto: float
    alpha: float
    beta: float


@dataclass(frozen=True)
class Curve:
    """Seconds as a function of bytes: pieces in increasing order, the last one without an end."""

    pieces: tuple[Piece, ...]

    def __call__(self, nbytes: float) -> float:
        piece = next(p for p in self.pieces if nbytes <= p.upto)
        return piece.alpha + piece.beta * nbytes

    @classmethod
    def line(cls, alpha: float, beta: float) -> Curve:
        """One α and one β for every size."""
        return cls((Piece(math.inf, alpha, beta),))

    def link(self, kind: str = "link") -> Link:
        """The link for a network on paper: α of the shortest messages, β of the longest."""
        return Link(self.pieces[0].alpha, self.pieces[-1].beta, kind)


def _line(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """α ≥ 0 and β ≥ 0 with the least sum of squared *relative* errors, and that sum."""
    w = [1 / t**2 for t in seconds]
    s0, s1, s2 = (sum(wi * n**k for wi, n in zip(w, sizes, strict=True)) for k in (0, 1, 2))
    t0, t1 = (sum(wi * t * n**k for wi, n, t in zip(w, sizes, seconds, strict=True)) for k in (0, 1))
    flat, slope = (t0 / s0, 0.0), (0.0, t1 / s2)
    best = [flat, slope]
    if (det := s0 * s2 - s1**2) > 1e-12 * s0 * s2:
        alpha, beta = (t0 * s2 - t1 * s1) / det, (s0 * t1 - s1 * t0) / det
        if alpha >= 0 and beta >= 0:
            best = [(alpha, beta)]
    return min(((sum(((a + b * n) / t - 1) ** 2 for n, t in zip(sizes, seconds, strict=True)), a, b) for a, b in best))


def fit(sizes: Sequence[float], seconds: Sequence[float], pieces: int = 4, least: int = 3) -> Curve:
    """The piecewise line through samples (bytes, seconds) with the least relative errors: at most `pieces`, of `least` samples each.

    A further piece is taken only where it halves the sum of squared errors. Raises ValueError for fewer than `least` samples, or for a
    size or time that is not positive.
    """
    if len(sizes) != len(seconds) or len(sizes) < least or min(sizes) <= 0 or min(seconds) <= 0:
        raise ValueError(f"a fit needs at least {least} sizes, a time for each, all positive")
    order = sorted(range(len(sizes)), key=lambda i: sizes[i])
    x, y = [float(sizes[i]) for i in order], [float(seconds[i]) for i in order]
    n = len(x)
    cost = {(i, j): _line(x[i:j], y[i:j]) for i in range(n) for j in range(i + least, n + 1)}
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {(0, 0): (0.0, ())}      # (pieces, samples) → error, ends
    for k in range(1, pieces + 1):
        for j in range(k * least, n + 1):
            found = [(best[k - 1, i][0] + cost[i, j][0], (*best[k - 1, i][1], j)) for i in range(j - least + 1) if (k - 1, i) in best]
            if found:
                best[k, j] = min(found)
    chosen = best[1, n]
    for k in range(2, pieces + 1):
        if (k, n) in best and best[k, n][0] < chosen[0] / 2 and chosen[0] > 1e-9:
            chosen = best[k, n]
    made, start = [], 0
    for end in chosen[1]:
        _, alpha, beta = cost[start, end]
        made.append(Piece(math.sqrt(x[end - 1] * x[end]) if end < n else math.inf, alpha, beta))
        start = end
    return Curve(tuple(made))


def ring_seconds(nbytes: float, ranks: int, step: Curve, combine: Curve | None = None) -> float:
    """Ring allreduce of nbytes on each rank: 2(N - 1) steps of nbytes / N, of which N - 1 are followed by a sum (`combine`)."""
    if ranks == 1:
        return 0.0
    part = nbytes / ranks
    return (ranks - 1) * (2 * step(part) + (combine(part) if combine else 0.0))


@dataclass(frozen=True)
class Links:
    """What two ranks of this machine see of one another: `step`, both send and receive at once, through MPI and shared memory."""

    alpha: float                  # seconds: the shortest messages
    beta: float                   # seconds per byte: the longest
    step: Curve
    ranks: int = 2


def _kept(ranks: int) -> Path:
    return Path(os.environ.get("HPML_CACHE") or Path.home() / ".cache" / "hpml") / f"links{ranks}.json"


def kept(ranks: int = 2) -> Links | None:
    """What `links` has kept in $HPML_CACHE, if anything."""
    try:
        pieces = tuple(Piece(p["upto"] if p["upto"] is not None else math.inf, p["alpha"], p["beta"])
                       for p in json.loads(_kept(ranks).read_text(encoding="utf-8")))
        return _summary(Curve(pieces), ranks)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def links(ranks: int = 2, fresh: bool = False) -> Links:
    """α and β between `ranks` ranks of this machine, measured in about 10 s the first time and kept in $HPML_CACHE.

    Raises MPIError where MPI does not start.
    """
    if not fresh and (known := kept(ranks)):
        return known
    path = _kept(ranks)
    from hpml.distributed.allreduce import measure
    found = measure(ranks, budget=3)
    step = fit(found.sizes, found.step)
    pieces_out = [asdict(p) | {"upto": p.upto if math.isfinite(p.upto) else None} for p in step.pieces]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(pieces_out), encoding="utf-8")
        part.replace(path)
    except OSError:
        pass                                                    # measured again next time
    return _summary(step, ranks)


def _summary(step: Curve, ranks: int) -> Links:
    link = step.link()
    return Links(link.alpha, link.beta, step, ranks)
