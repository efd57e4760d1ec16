"""The trusted side of lab 01: inputs, oracles, baselines, pictures and hints.

Conventions: times in seconds, traffic in bytes, float32 numbers of 4 bytes; FLOPs count a multiplication and an addition as two.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpml.exercise import Case, Exercise, Hint, Prediction, Size, Work

# ------------------------------------------------------------------------------------------------- inputs and oracles


def sample_times(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Times of one call in seconds: a floor, small positive noise, and now and then something that took much longer."""
    noise = rng.exponential(0.02, size["n"]) + np.where(rng.random(size["n"]) < 0.15, rng.uniform(0.5, 2, size["n"]), 0)
    return (1e-3 * (1 + noise),)


def rank(n: int, outside: float = 0.05) -> int:
    """The largest k for which the k-th smallest and the k-th largest of n samples miss the median with at most this probability."""
    return max(k for k in range(1, n // 2 + 1) if 2 * sum(math.comb(n, i) for i in range(k)) <= outside * 2**n)


def median_and_ends(times: np.ndarray) -> np.ndarray:
    """The median and its distribution-free interval, from order statistics (David & Nagaraja, Order Statistics, 2003)."""
    ordered, k = sorted(times.tolist()), rank(len(times))
    return np.array([statistics.median(ordered), ordered[k - 1], ordered[-k]])


KINDS = {"axpy": ("n",), "dense": ("B", "D", "K"), "conv": ("N", "H", "W", "C", "K", "k")}


def sample_work(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A kernel's name and its shape; which one, the keys of the size say."""
    kind = next(kind for kind, keys in KINDS.items() if set(keys) == set(size))
    return (kind, *(size[key] for key in KINDS[kind]))


def counted(kind: str, *shape: int) -> np.ndarray:
    """FLOPs and bytes, from the arrays that are read and written."""
    terms, read, written = arrays(kind, *shape)
    return np.array([2.0 * terms, 4.0 * (sum(read) + written)])


def arrays(kind: str, *shape: int) -> tuple[int, list[int], int]:
    """Products that are added up, sizes of the arrays that are read, size of the one that is written."""
    if kind == "axpy":
        return shape[0], [shape[0], shape[0]], shape[0]
    if kind == "dense":
        b, d, k = shape
        return b * d * k, [b * d, d * k], b * k
    n, h, w, c, kk, k = shape
    out = n * (h - k + 1) * (w - k + 1) * kk
    return out * k * k * c, [n * h * w * c, k * k * c * kk], out


def sample_roof(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """FLOPs and bytes of m kernels on both sides of the ridge, and a machine's peak in GFLOP/s and bandwidth in GB/s."""
    peak, bandwidth = round(float(rng.uniform(50, 200)), 1), round(float(rng.uniform(5, 40)), 1)
    nbytes = 10 ** rng.uniform(5, 8, size["m"])
    decades = rng.uniform(0.2, 2, size["m"]) * np.where(np.arange(size["m"]) % 2, 1, -1)
    intensity = peak / bandwidth * 10**decades
    return intensity * nbytes, nbytes, peak, bandwidth


def under_the_roof(flops: np.ndarray, nbytes: np.ndarray, peak: float, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """Attainable GFLOP/s and least seconds: the slower of memory and arithmetic, if both can work at the same time."""
    seconds = np.array([max(f / (peak * 1e9), b / (bandwidth * 1e9)) for f, b in zip(flops, nbytes, strict=True)])
    return flops / seconds / 1e9, seconds


def sample_rows(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (B, D), c (K, D) and how many rows at a time; all near each other and far from zero: differences of large sums lose digits."""
    middle = 4 + rng.random(size["D"], dtype=np.float32)
    x, c = (middle + np.float32(0.1) * rng.random((n, size["D"]), dtype=np.float32) for n in (size["B"], size["K"]))
    return x, c, size["rows"]


def all_distances(x: np.ndarray, c: np.ndarray, rows: int) -> np.ndarray:
    """In double precision, one row of c at a time."""
    wide = x.astype(np.float64)
    return np.stack([np.square(wide - row).sum(axis=1) for row in c], axis=1).astype(np.float32)


def sample_tiles(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return size["rows"], size["columns"], size["tile"], size["full"]


def tiles_of(mask: np.ndarray, tile: int) -> np.ndarray:
    """How many numbers of each tile are not zero."""
    rows, columns = mask.shape
    return (mask.view(np.uint8) != 0).reshape(rows // tile, tile, columns // tile, tile).sum(axis=(1, 3))


def extremes(rows: int, columns: int, tile: int, full: int) -> tuple[np.ndarray, np.ndarray]:
    """One possible pair: tile after tile, and one number to each tile in turn."""
    found = []
    down, across = rows // tile, columns // tile
    order = [(r, c, i) for r in range(down) for c in range(across) for i in range(tile * tile)]
    for key in (lambda p: p, lambda p: (p[2], p[0], p[1])):
        mask = np.zeros((rows, columns), bool)
        for r, c, i in sorted(order, key=key)[:full]:
            mask[r * tile + i // tile, c * tile + i % tile] = True
        found.append(mask)
    return found[0], found[1]


def as_extreme(case: Case) -> bool:
    """Both masks hold the right number of ones, in as few and in as many tiles as there can be."""
    rows, columns, tile, full = case.args
    best, worst = (tiles_of(np.ascontiguousarray(mask), tile) for mask in case.got)
    return bool(best.sum() == worst.sum() == full and np.count_nonzero(best) == -(-full // tile**2)
                and np.count_nonzero(worst) == min(full, best.size))


# ---------------------------------------------------------------------------------------------------------- baselines


def three_passes(x, c, rows):
    """One NumPy operation after another, each with a new array for its result."""
    import numpy as np

    difference = x[:, None] - c                 # (B, K, D)
    square = difference ** 2                    # (B, K, D)
    return np.sum(square, axis=2)               # (B, K)


def distances_work(size: Size) -> Work:
    """A subtraction, a multiplication and an addition for each of B·K·D terms; x and c read once, B·K sums written."""
    b, d, k = size["B"], size["D"], size["K"]
    return Work(flops=3.0 * b * k * d, bytes=4.0 * (b * d + k * d + b * k))


# ------------------------------------------------------------------------------------- the four kernels of section 5


def axpy(a, x, y, t):
    """y += a * x in two NumPy calls; t is memory for a * x."""
    np.multiply(x, a, out=t)
    np.add(y, t, out=y)


def matvec(m, v):
    """A matrix times one vector."""
    return m @ v


def dense(x, w):
    """A dense layer: a matrix times a matrix."""
    return x @ w


PROGRAM = """
import json, statistics, sys, time
import numpy as np

{functions}

def block(function, *args, least=0.008):
    calls, spent = 1, 0.0
    while True:
        begin = time.process_time()
        for _ in range(calls):
            function(*args)
        spent = time.process_time() - begin
        if spent >= least:
            return spent / calls
        calls *= 2

n, rng = 10_000_000, np.random.default_rng(1)
a, x, y, t = np.float32(0.5), np.ones(n, np.float32), np.ones(n, np.float32), np.empty(n, np.float32)
m, v = rng.random((4096, 4096), dtype=np.float32), rng.random(4096, dtype=np.float32)
s, big = rng.random((512, 512), dtype=np.float32), rng.random((1536, 1536), dtype=np.float32)
hundred, ten = ([part[:count].copy() for part in (x, y, t)] for count in (100, 10))
rounds = []
for turn in range(8):
    bandwidth = max(8 * n / block(np.copyto, t, x), 12 * n / block(np.add, x, y, t))
    peak = 2 * 1536**3 / block(np.matmul, big, big)
    rounds.append({{
        "axpy_share": 100 * 12 * n / block(axpy, a, x, y, t) / bandwidth,
        "matvec_share": 100 * 4 * 4096**2 / block(matvec, m, v) / bandwidth,
        "dense_share": 100 * 2 * 512**3 / block(dense, s, s) / peak,
        "hundred_to_ten": block(axpy, a, *hundred) / block(axpy, a, *ten),
    }})
print(json.dumps({{name: statistics.median(r[name] for r in rounds[1:]) for name in rounds[0]}}))
"""


def run(program: str) -> dict[str, float]:
    """What the program prints, as JSON, on one thread; empty where it fails, and the referee says that it could not be measured."""
    from hpml.machine import THREAD_LIMITS

    try:
        done = subprocess.run([sys.executable, "-I", "-c", program], env={**os.environ, **dict.fromkeys(THREAD_LIMITS, "1")},
                              capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    found: dict[str, float] = json.loads(done.stdout)
    return found


PROGRAM = PROGRAM.format(functions="\n".join(map(inspect.getsource, (axpy, matvec, dense))))


@functools.cache
def kernels() -> dict[str, float]:
    """What the four predictions are compared with: medians of neighbouring blocks of processor time."""
    return run(PROGRAM)


def of_kernel(name: str) -> Callable[[Any], float | None]:
    return lambda verdicts: kernels().get(name)


# ------------------------------------------------------------------------------------------ recognising wrong results


def near(got: Any, wanted: Any, tolerance: float = 1e-6) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers."""
    wanted = np.asarray(wanted)
    if not isinstance(got, np.ndarray) or got.shape != wanted.shape or got.dtype.kind not in "fiu":
        return False
    return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-300)))


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where nothing came back."""
    return Hint(lambda case: case.expected is not None and case.got is not None and bool(when(case)), text)


def ends(k: Callable[[int], int]) -> Callable[[Case], bool]:
    """The ends are the k(n)-th smallest and largest times."""
    def when(case: Case) -> bool:
        ordered = np.sort(case.args[0])
        at = k(len(ordered))
        return 1 <= at <= len(ordered) and near(part(case, 1, 3), [ordered[at - 1], ordered[-at]])
    return when


def part(case: Case, low: int, high: int) -> np.ndarray | None:
    """A piece of a result of one dimension."""
    return case.got[low:high] if isinstance(case.got, np.ndarray) and case.got.ndim == 1 else None


def around_mean(case: Case) -> bool:
    times, low, high = case.args[0], part(case, 1, 2), part(case, 2, 3)
    return low is not None and high is not None and near((low + high) / 2, [times.mean()], 1e-9)


def quantiles(case: Case) -> bool:
    return any(near(part(case, 1, 3), np.quantile(case.args[0], [p, 1 - p])) for p in (0.025, 0.05))


INTERVAL_HINTS = (
    hint(lambda c: near(part(c, 0, 1), [c.args[0].mean()]) and not near(part(c, 0, 1), c.expected[:1]),
         "The first number is the mean. One call during which the machine did something else moves the mean, and hardly the median."),
    hint(lambda c: near(part(c, 0, 1), [c.args[0].min()]) and not near(part(c, 0, 1), c.expected[:1]),
         "The first number is the smallest time. That is how fast it went once; the question is how fast it usually goes."),
    hint(around_mean, "Your interval lies symmetrically around the mean: that formula trusts a bell curve, and times have a tail on one "
                      "side only. Count ranks instead: how far from the middle can the median's place be?"),
    hint(quantiles, "These are the ends of the samples: most calls lie between them, however many you take. The interval of the "
                    "median gets narrower with more samples. Which ranks does the binomial sum allow?"),
    hint(lambda c: rank(len(c.args[0]), 0.1) > rank(len(c.args[0])) and ends(lambda n: rank(n, 0.1))(c),
         "The median can be missed on both sides: together they may be 5 %, so each of them half of that."),
    hint(ends(lambda n: rank(n) + 1), "Your interval is one rank too narrow. The sum for k has k terms, from i = 0 to k - 1, and all of "
                                      "them together, on both sides, may not be more than 5 %."),
    hint(ends(lambda n: rank(n) - 1), "Your interval is one rank too wide. Rank 1 is the smallest time, which Python finds at index 0."),
    hint(lambda c: near(part(c, 1, 3), c.args[0][[rank(len(c.args[0])) - 1, -rank(len(c.args[0]))]]),
         "The ranks are right, but the times are not in order: a rank counts from the smallest."),
    hint(lambda c: near(part(c, 0, 1), c.expected[:1]), "The median is right. Look at the ranks of the two ends."),
)


def totals(case: Case, flops: float | None = None, nbytes: float | None = None) -> bool:
    """One of the two numbers is what a mistake makes of it, and that is not the right one."""
    if not (isinstance(case.got, np.ndarray) and case.got.shape == (2,) and case.got.dtype.kind in "iuf"):
        return False
    return any(made is not None and math.isclose(got, made, rel_tol=1e-9) and not math.isclose(made, right, rel_tol=1e-9)
               for got, made, right in zip(case.got.tolist(), (flops, nbytes), case.expected.tolist(), strict=True))


def padded(case: Case) -> bool:
    if case.args[0] != "conv":
        return False
    n, h, w, c, kk, k = case.args[1:]
    return totals(case, flops=2.0 * n * h * w * kk * k * k * c)


def layer(case: Case) -> tuple[int, list[int], int]:
    return arrays(*case.args)


WORK_HINTS = (
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape == (2,) and near(c.got[::-1].astype(float), c.expected, 1e-12),
         "FLOPs come first, bytes second."),
    hint(padded, "Count the places where a window of k fits into a row of H: the first is 0, and its last cell may not pass H - 1."),
    hint(lambda c: totals(c, flops=c.expected[0] / 2), "Half of the operations are missing: each product is also added to a sum."),
    hint(lambda c: c.args[0] != "axpy" and any(
        totals(c, flops=c.expected[0] / f) or totals(c, flops=c.expected[0] / 2 / f) for f in c.args[1:] if f > 1),
         "One factor is missing in the FLOPs. How many outputs are there, and of how many products is each of them the sum?"),
    hint(lambda c: totals(c, nbytes=2 * c.expected[1]), "Your bytes are twice too many: a float32 has 4 of them."),
    hint(lambda c: totals(c, nbytes=c.expected[1] / 4), "These are numbers, not bytes: a float32 has 4 bytes."),
    hint(lambda c: totals(c, nbytes=c.expected[1] - 4 * layer(c)[2]),
         "Something that moves is missing in the bytes: results have to be written, and what is written over may have to be read first."),
    hint(lambda c: any(totals(c, nbytes=c.expected[1] - 4 * read) for read in layer(c)[1]),
         "One array that is read is missing in the bytes. For each product, where do its two factors come from?"),
    hint(lambda c: totals(c, nbytes=4.0 * layer(c)[0] * 3) or totals(c, nbytes=4.0 * (2 * layer(c)[0] + layer(c)[2])),
         "You count a number again each time it is used. What has to cross the border of the memory at the least? Each array once."),
)


def curve(case: Case, make: Callable[[np.ndarray, np.ndarray, float, float], Any]) -> bool:
    got = case.got[0] if isinstance(case.got, tuple | list) and len(case.got) == 2 else case.got
    return near(got, make(*case.args)) and not near(got, case.expected[0])


ROOF_HINTS = (
    hint(lambda c: curve(c, lambda f, b, p, w: np.maximum(p, f / b * w)),
         "You take the larger of the two. A roof is where the first of two limits stops you."),
    hint(lambda c: curve(c, lambda f, b, p, w: np.minimum(p, b / f * w)),
         "The intensity is upside down: it is work per byte, so that more of it makes memory matter less."),
    hint(lambda c: curve(c, lambda f, b, p, w: f / (f / p + b / w)),
         "You add the two times. The roofline lets memory and arithmetic work at the same time: the slower one is what you wait for."),
    hint(lambda c: curve(c, lambda f, b, p, w: np.full_like(f, p)) or curve(c, lambda f, b, p, w: f / b * w),
         "Only one of the two limits is in your answer. Which of them holds depends on the side of the ridge point."),
    hint(lambda c: isinstance(c.got, tuple | list) and len(c.got) == 2 and near(c.got[0], c.expected[0])
         and any(near(c.got[1] * 1.0, c.expected[1] * s) for s in (1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9)) and not near(c.got[1], c.expected[1]),
         "The speed is right and the time is off by a power of ten: FLOP divided by GFLOP/s are nanoseconds."),
    hint(lambda c: isinstance(c.got, tuple | list) and len(c.got) == 2 and near(c.got[0], c.expected[0]) and near(
        c.got[1], c.args[1] / (c.args[3] * 1e9)),
         "The time is that of the memory alone. To the right of the ridge the arithmetic takes longer."),
    hint(lambda c: isinstance(c.got, tuple | list) and len(c.got) == 2 and near(c.got[0], c.expected[1]), "Speed first, then time."),
)

def first_rows_only(case: Case) -> bool:
    """Some rows are right, and from there to the end none is."""
    if not isinstance(case.got, np.ndarray) or case.got.shape != case.expected.shape or case.got.dtype.kind != "f":
        return False
    good = np.isclose(case.got, case.expected, rtol=1e-3).all(axis=1)
    return bool(good[0] and not good[-1])


DISTANCE_HINTS = (
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.dtype == np.float64,
         "A float64 came in somewhere: it doubles every byte that moves. Say float32 where you make an array."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape == c.expected.shape[::-1] != c.expected.shape,
         "A row for each row of x, a column for each row of c: yours is the other way round."),
    hint(lambda c: near(c.got, np.sqrt(c.expected), 1e-4), "No square root: the squared distance is asked for."),
    hint(lambda c: near(c.got, c.expected / c.args[0].shape[1], 1e-4), "A sum over the last axis, not a mean."),
    hint(first_rows_only,
         "The first rows are right and the last are not. Does the number of rows divide by your block? The last block may be smaller."),
    hint(lambda c: near(c.got, c.expected, 0.9),
         "Nearly right, and not right enough. If you multiplied the square out: the terms are large and their difference is small, "
         "so the leading digits cancel and rounding errors are what is left."),
)


def both(case: Case) -> tuple[np.ndarray, np.ndarray] | None:
    """Tiles of the two masks that came back, if they have the right shape and type."""
    got = case.got
    if not isinstance(got, tuple | list) or len(got) != 2:
        return None
    rows, columns, tile, _ = case.args
    if not all(isinstance(m, np.ndarray) and m.shape == (rows, columns) and m.dtype.kind in "biuf" for m in got):
        return None
    a, b = (tiles_of(np.ascontiguousarray(m != 0), tile) for m in got)
    return a, b


def tiled(when: Callable[[np.ndarray, np.ndarray, int, int], bool]) -> Callable[[Case], bool]:
    """A condition on the tiles of both masks, the tile's side and the number of ones."""
    def test(case: Case) -> bool:
        found = both(case)
        return found is not None and bool(when(*found, *case.args[2:]))
    return test


TILE_HINTS = (
    hint(tiled(lambda b, w, t, full: b.sum() != full or w.sum() != full),
         "The number of ones is not what was asked for. Both have the same share of zeros: that is what makes the comparison look fair."),
    hint(tiled(lambda b, w, t, full: np.count_nonzero(b) > np.count_nonzero(w)),
         "These are exchanged: the optimisation looks best where many tiles are empty, because those are left out."),
    hint(tiled(lambda b, w, t, full: np.count_nonzero(b) > -(-full // t**2)),
         "In your best case too many tiles hold something. A tile is a square: fill one completely before you begin the next."),
    hint(tiled(lambda b, w, t, full: np.count_nonzero(w) < min(full, w.size)),
         "In your worst case a tile is still empty, and could be left out. Deal the ones out like cards: one to each tile, then again."),
    hint(lambda c: both(c) is not None, "The places are right; only the type is not: True and False, as `bool`."),
)

# ----------------------------------------------------------------------------------------------------------- pictures

BLUE, RED, INK = "#0072b2", "#d55e00", "#24292f"


def _panel(width: float, height: float, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, **options)


def _usable(got: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(got, np.ndarray) and got.shape == shape and got.dtype.kind in "fiu" and bool(np.isfinite(got).all())


def draw_times(case: Case) -> Figure:
    """Every time as a dot, in order; the expected median and interval, and yours below."""
    figure, axis = _panel(7, 2.3)
    times = np.sort(case.args[0]) * 1e3
    axis.plot(times, np.full(len(times), 2), "|", color=INK, ms=22, mew=1.5)
    rows = [(1.0, "expected", BLUE, case.expected)] + ([(0.0, "yours", RED, case.got)] if _usable(case.got, (3,)) else [])
    for level, _, colour, (middle, low, high) in rows:
        axis.plot([low * 1e3, high * 1e3], [level, level], color=colour, lw=9, alpha=0.35, solid_capstyle="butt")
        axis.plot([middle * 1e3], [level], "D", color=colour, ms=8)
    if len(rows) == 1:
        axis.text(times.min(), 0, "yours: nothing to draw yet", va="center", fontsize=10)
    spread = max(float(np.ptp(times)), 1e-9)
    axis.set(ylim=(-0.7, 2.8), xlim=(times.min() - 0.05 * spread, times.max() + 0.05 * spread), xlabel="time of one call, ms")
    axis.set_yticks([2, 1, 0], [f"{len(times)} times", "expected", "yours"])
    return figure


def draw_work(case: Case) -> Figure:
    """What moves, array by array; and the two totals beside yours."""
    figure, (left, right) = _panel(7.4, 2.5, 2, width_ratios=[1.1, 1])
    kind, *shape = case.args
    terms, reads, written = arrays(kind, *shape)
    names = ("read x", "read y" if kind == "axpy" else "read w", "write y")
    sizes = [*reads, written]
    left.barh(range(3), [4 * size for size in sizes], color=[BLUE, BLUE, RED], height=0.6)
    for n, size in enumerate(sizes):
        left.annotate(f"4 · {size:,}", (4 * size, n), (4, 0), textcoords="offset points", va="center", fontsize=10)
    left.set_yticks(range(3), names)
    left.set(xlim=(0, 4 * max(sizes) * 1.5), xlabel="bytes", title=f"{kind}({', '.join(map(str, shape))})")
    left.invert_yaxis()
    rows = [("expected FLOP", case.expected[0], BLUE), ("expected bytes", case.expected[1], BLUE)]
    if _usable(case.got, (2,)):
        rows += [("your FLOP", float(case.got[0]), RED), ("your bytes", float(case.got[1]), RED)]
        rows = [rows[0], rows[2], rows[1], rows[3]]
    right.barh(range(len(rows)), [max(value, 0.0) for _, value, _ in rows], color=[colour for *_, colour in rows], height=0.6)
    most = max(1.0, *(value for _, value, _ in rows))
    for n, (_, value, _) in enumerate(rows):
        right.annotate(f"{value:,.6g}", (max(value, 0.0), n), (4, 0), textcoords="offset points", va="center", fontsize=10)
    right.set_yticks(range(len(rows)), [name for name, *_ in rows])
    right.set(xlim=(0, 1.5 * most), title="" if len(rows) == 4 else "yours: nothing to draw yet")
    right.invert_yaxis()
    return figure


def draw_roof(case: Case) -> Figure:
    """The roof, the points that should lie on it, and yours."""
    figure, axis = _panel(6.4, 3.2)
    flops, nbytes, peak, bandwidth = case.args
    intensity = flops / nbytes
    ends_ = [intensity.min() / 3, peak / bandwidth, intensity.max() * 3]
    axis.loglog(ends_, [ends_[0] * bandwidth, peak, peak], color=INK, lw=2)
    axis.loglog(intensity, case.expected[0], "o", color=BLUE, ms=12, mfc="none", mew=2, label="expected")
    got = case.got[0] if isinstance(case.got, tuple | list) and case.got else case.got
    if _usable(got, flops.shape) and (got > 0).any():
        axis.loglog(intensity[got > 0], got[got > 0], "x", color=RED, ms=9, mew=2.5, label="yours")
    else:
        axis.plot([], [], " ", label="yours: nothing to draw yet")
    axis.legend(loc="lower right", frameon=False)
    axis.set(xlabel="FLOP per byte", ylabel="GFLOP/s", title=f"peak {peak:g} GFLOP/s, memory {bandwidth:g} GB/s")
    return figure


def draw_distances(case: Case) -> Figure:
    """The distances as a matrix: expected, yours, and the difference."""
    figure, axes = _panel(7, 2.6, 3)
    wanted = case.expected[:16]
    mine = case.got[:16] if _usable(case.got, case.expected.shape) else None
    shown = ((wanted, "expected"), (mine, "yours"), (None if mine is None else np.abs(mine - wanted), "|difference|"))
    for axis, (values, name) in zip(axes, shown, strict=True):
        axis.set_title(name, fontsize=10)
        axis.set_xticks([]), axis.set_yticks([])
        axis.set_box_aspect(0.9)
        if values is None:
            axis.text(0.5, 0.5, "nothing to draw yet" if name == "yours" else "", ha="center", va="center", transform=axis.transAxes)
        else:
            axis.imshow(values, cmap="magma_r" if name[0] == "|" else "cividis", vmin=0, vmax=float(wanted.max()), aspect="auto")
    axes[0].set(xlabel="row of c", ylabel="row of x")
    return figure


def draw_tiles(case: Case) -> Figure:
    """Best and worst case with the borders of the tiles: one that is possible, and yours."""
    rows, columns, tile, full = case.args
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots(2, 2)
    found = both(case)
    for line, (masks, who) in enumerate(((case.expected, "possible"), (case.got if found else (None, None), "yours"))):
        for axis, mask, name in zip(axes[line], masks, ("best", "worst"), strict=True):
            axis.set_xticks([]), axis.set_yticks([])
            if mask is None:
                axis.text(0.5, 0.5, "nothing to draw yet", ha="center", va="center", transform=axis.transAxes)
                axis.set_title(f"{name}, {who}", fontsize=10)
                axis.set_box_aspect(rows / columns)
                continue
            filled = np.asarray(mask) != 0
            axis.imshow(filled, cmap="Blues", vmin=0, vmax=1.3)
            for edge in range(0, rows + 1, tile):
                axis.axhline(edge - 0.5, color=RED, lw=1.2)
            for edge in range(0, columns + 1, tile):
                axis.axvline(edge - 0.5, color=RED, lw=1.2)
            empty = int((tiles_of(np.ascontiguousarray(filled), tile) == 0).sum())
            axis.set_title(f"{name}, {who}: {int(filled.sum())} ones, {empty} of {rows * columns // tile**2} tiles empty", fontsize=10)
    return figure


# ------------------------------------------------------------------------------------------------------- declarations

EXERCISES: dict[str, Exercise | Prediction] = {
    "median_interval": Exercise(
        sample=sample_times, oracle=median_and_ends, sizes=({"n": 9}, {"n": 30}), hidden=({"n": 6}, {"n": 14}, {"n": 101}),
        draw=draw_times, hints=INTERVAL_HINTS),
    "work": Exercise(
        sample=sample_work, oracle=counted, draw=draw_work, hints=WORK_HINTS,
        sizes=({"n": 12}, {"B": 3, "D": 5, "K": 4}, {"N": 2, "H": 7, "W": 6, "C": 3, "K": 4, "k": 3}),
        hidden=({"n": 10_000_000}, {"B": 64, "D": 784, "K": 128}, {"N": 1, "H": 28, "W": 30, "C": 1, "K": 16, "k": 5})),
    "attainable": Exercise(
        sample=sample_roof, oracle=under_the_roof, sizes=({"m": 4}, {"m": 7}), hidden=({"m": 50}, {"m": 1}), draw=draw_roof,
        hints=ROOF_HINTS, tolerance={"float64": 1e-9}),
    "axpy_share": Prediction(
        truth=of_kernel("axpy_share"), unit="%",
        explain=lambda guess, truth: "The roofline counts 12 bytes for each number: read x, read y, write y. NumPy's two calls move 20, "
                                     "because t is written and read again. 12/20 is 60 %; what the caches keep of t makes it more."),
    "matvec_share": Prediction(
        truth=of_kernel("matvec_share"), unit="%",
        explain=lambda guess, truth: "Each number of the matrix is used once, so memory is the limit, and this kernel moves nothing that "
                                     "it need not. The rest: one thread reads at another pace than it copies."),
    "dense_share": Prediction(
        truth=of_kernel("dense_share"), unit="%",
        explain=lambda guess, truth: "Far to the right of the ridge, memory hardly matters: this is the kind of work that the peak of the "
                                     "card was measured with."),
    "hundred_to_ten": Prediction(
        truth=of_kernel("hundred_to_ten"), unit="×",
        explain=lambda guess, truth: "A hundred numbers take hardly longer than ten: nearly all of the time goes into two calls, that is, "
                                     "into finding out what to do. No roofline knows about that."),
    "distances": Exercise(
        sample=sample_rows, oracle=all_distances, draw=draw_distances, hints=DISTANCE_HINTS, work=distances_work,
        sizes=({"B": 6, "D": 8, "K": 3, "rows": 4}, {"B": 5, "D": 300, "K": 2, "rows": 1}),
        hidden=({"B": 1, "D": 3, "K": 4, "rows": 64}, {"B": 137, "D": 11, "K": 10, "rows": 100}, {"B": 66, "D": 64, "K": 5, "rows": 33}),
        baselines={"three_passes": three_passes}),
    "best_and_worst": Exercise(
        sample=sample_tiles, oracle=extremes, accepts=as_extreme, draw=draw_tiles, hints=TILE_HINTS,
        sizes=({"rows": 6, "columns": 8, "tile": 2, "full": 10}, {"rows": 12, "columns": 9, "tile": 3, "full": 20}),
        hidden=({"rows": 16, "columns": 24, "tile": 4, "full": 5}, {"rows": 10, "columns": 10, "tile": 5, "full": 60},
                {"rows": 4, "columns": 4, "tile": 1, "full": 7})),
}
