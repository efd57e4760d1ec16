"""The trusted side of lab 06: inputs, oracles, the baseline, pictures and hints.

Conventions: a network is a table (L, 5) of int64, one row a layer: [channels, kernel, stride, padding, groups]. A row with kernel 0 is
dense, a row with channels 0 is a maximum pooling without padding. Pictures are square. Counters are exact, so their oracles are
compared without a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpml.exercise import Case, Exercise, Hint, Prediction, Size, Work, speedup

# Krizhevsky, Sutskever, Hinton 2012: two towers (groups) in the second, fourth and fifth convolution.
ALEXNET = (
    (96, 11, 4, 0, 1), (0, 3, 2, 0, 1), (256, 5, 1, 2, 2), (0, 3, 2, 0, 1), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2),
    (0, 3, 2, 0, 1), (4096, 0, 1, 0, 1), (4096, 0, 1, 0, 1), (1000, 0, 1, 0, 1))
NAMES = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8")
COLUMNS = ("channels", "kernel", "stride", "padding", "groups")

# ------------------------------------------------------------------------------------------------- inputs and oracles


def sample_classes(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """The number of classes; 0 in `size` stands for a random one."""
    return (size["classes"] or int(rng.integers(2, 2000)),)


def sample_network(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A table, the size of its square pictures and their channels: AlexNet for `full`, else a random small network.

    Sizes do not divide evenly, paddings and groups differ: whoever forgets one of them gets another number.
    """
    if size.get("full"):
        return np.array(ALEXNET), 227, 3
    side, before = size["H"], size["C"]
    rows, now = [], side
    for n in range(size["convs"]):
        kernel = int(rng.choice([3, 5])) if now >= 5 else 3
        groups = 2 if n and n % 2 else 1
        rows.append((2 * int(rng.integers(3, 9)), kernel, 2 if n == 0 else 1, int(rng.integers(1, 3)), groups))
        now = (now + 2 * rows[-1][3] - kernel) // rows[-1][2] + 1
        if now >= 6:
            rows.append((0, 3, 2, 0, 1))
            now = (now - 3) // 2 + 1
    rows += [(int(rng.integers(5, 40)), 0, 1, 0, 1) for _ in range(size["dense"])]
    return np.array(rows), side, before


def sample_batch(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A network, and the pictures of a minibatch."""
    return *sample_network(rng, size), int(rng.integers(2, 300))


def sample_tail(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """y (N, H, W, C), the raw result of a convolution, and b (C,)."""
    y = rng.standard_normal((size["N"], size["H"], size["W"], size["C"]), dtype=np.float32)
    y -= np.float32(1.5)                                    # so that the largest of nine is as often negative as positive
    return y, rng.standard_normal(size["C"], dtype=np.float32)


def sample_runs(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Accuracies in per cent (V networks, S seeds), a seed as good or bad for all of them, and Student's t of 95 %."""
    middle = np.sort(rng.uniform(60, 90, size["V"]))[::-1]
    runs = middle[:, None] + rng.normal(0, 1.5, size["S"]) + rng.normal(0, 0.5, (size["V"], size["S"]))
    return np.round(runs, 2), {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 9: 2.306}[size["S"]]


def alexnet(classes: int) -> np.ndarray:
    return np.array([*ALEXNET[:-1], (classes, 0, 1, 0, 1)])


def outputs(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Height, width and channels behind every layer."""
    found, side, depth = [], size, channels
    for k, kernel, stride, padding, _ in layers.tolist():
        side = (side + 2 * padding - kernel) // stride + 1 if kernel else 1
        depth = k or depth
        found.append((side, side, depth))
    return np.array(found)


def incoming(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Height, width and channels in front of every layer."""
    return np.vstack([[(size, size, channels)], outputs(layers, size, channels)[:-1]])


def parameters(layers: np.ndarray, size: int, channels: int, groups: bool = True, bias: bool = True) -> np.ndarray:
    """Weights and biases of every layer; `groups` and `bias` False: what those count who forget them."""
    found = []
    for (k, kernel, _, _, g), (h, w, c) in zip(layers.tolist(), incoming(layers, size, channels).tolist(), strict=True):
        each = kernel * kernel * c // (g if groups else 1) if kernel else h * w * c
        found.append(k * (each + bias))
    return np.array(found)


def macs(layers: np.ndarray, size: int, channels: int, groups: bool = True) -> np.ndarray:
    """Multiply-accumulates of every layer for one picture."""
    out = outputs(layers, size, channels)
    return parameters(layers, size, channels, groups, bias=False) * out[:, 0] * out[:, 1]


def training_bytes(layers: np.ndarray, size: int, channels: int, batch: int) -> np.ndarray:
    """Bytes of weights, gradients and momentum; bytes of the pictures and of every layer's output."""
    kept = size * size * channels + outputs(layers, size, channels).prod(1).sum()
    return np.array([3 * 4 * parameters(layers, size, channels).sum(), 4 * batch * kept])


def conv_tail(y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bias, ReLU and the largest of each 3×3 window, by the definition."""
    z = np.maximum(y + b, 0)
    return np.lib.stride_tricks.sliding_window_view(z, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-2, -1))


def ablation(runs: np.ndarray, t: float, ddof: int = 1) -> np.ndarray:
    """Mean, standard deviation, loss against row 0 (paired by seed), and half of its interval."""
    lost = runs[0] - runs
    half = t * lost.std(1, ddof=ddof) / runs.shape[1] ** 0.5
    return np.stack([runs.mean(1), runs.std(1, ddof=ddof), lost.mean(1), half], axis=1)


# ---------------------------------------------------------------------------------------------------------- baselines


def three_steps(y, b):
    """Bias, then ReLU, then pooling: each reads all of its numbers and writes its own."""
    import numpy as np

    z = y + b
    z = np.maximum(z, 0)
    windows = np.lib.stride_tricks.sliding_window_view(z, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return windows.max((-2, -1))


def tail_work(size: Size) -> Work:
    """y read once, the result written once; eight comparisons, an addition and a ReLU for each number of the result."""
    n, h, w, c = (size[a] for a in "NHWC")
    results = n * ((h - 3) // 2 + 1) * ((w - 3) // 2 + 1) * c
    return Work(flops=10.0 * results, bytes=4.0 * (n * h * w * c + c + results))


# ------------------------------------------------------------------------------------------- recognising wrong results


def like(got: Any, wanted: Any, tolerance: float = 1e-9) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers."""
    wanted = np.asarray(wanted)
    if not isinstance(got, np.ndarray) or got.shape != wanted.shape or got.dtype.kind not in "fiu":
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-30)))


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    def fits(case: Case) -> bool:
        with np.errstate(all="ignore"):
            return isinstance(case.got, np.ndarray) and case.expected is not None and not like(case.got, case.expected) and bool(when(case))
    return Hint(fits, text)


def same_shape(case: Case) -> bool:
    return case.got.shape == case.expected.shape


def column(name: str, value: Callable[[np.ndarray], Any]) -> Callable[[Case], bool]:
    """Only this column is wrong, and it is what `value(expected)` gives."""
    at = COLUMNS.index(name)

    def when(case: Case) -> bool:
        if not same_shape(case):
            return False
        wanted = case.expected.copy()
        wanted[:, at] = value(case.expected)
        return like(case.got, wanted)
    return when


def wrong_columns(case: Case) -> list[str]:
    """Names of the columns in which something differs."""
    return [name for n, name in enumerate(COLUMNS) if same_shape(case) and not like(case.got[:, n], case.expected[:, n])]


def would_be(make: Callable[..., np.ndarray]) -> Callable[[Case], bool]:
    """The result is what `make` gives for the same arguments."""
    return lambda case: like(case.got, make(*case.args))


def sizes_by(step: Callable[[int, int, int, int], int]) -> Callable[..., np.ndarray]:
    """Output sizes where `step(side, kernel, stride, padding)` is the formula."""
    def make(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
        found, side, depth = [], size, channels
        for k, kernel, stride, padding, _ in layers.tolist():
            side = step(side, kernel, stride, padding) if kernel else 1
            depth = k or depth
            found.append((side, side, depth))
        return np.array(found)
    return make


def pools_without_channels(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    found = outputs(layers, size, channels)
    found[layers[:, 0] == 0, 2] = 0
    return found


TABLE_HINTS = (
    hint(lambda c: c.got.ndim == 2 and c.got.shape[1] == 5 and len(c.got) == 8,
         "Eight rows: those are the layers with weights. Each of the three poolings has a row of its own."),
    hint(lambda c: c.got.ndim == 2 and c.got.shape[1] == 5 and len(c.got) == 10,
         "One row is missing. Three of the five convolutions are followed by a pooling: which?"),
    hint(column("groups", lambda e: 1),
         "Every number is right but the groups. Which convolutions looked only at the channels on their own graphics card?"),
    hint(column("groups", lambda e: np.where(e[:, 1] > 0, np.where(e[:, 0] > 0, 2, 1), 1)),
         "Not all convolutions have two groups. The first reads the picture, which has three channels; and one of the others reads both "
         "towers."),
    hint(lambda c: wrong_columns(c) == ["groups"], "Only the groups are wrong. Two towers: which layers see both of them?"),
    hint(column("padding", lambda e: 0),
         "Without padding every convolution shrinks the picture, and after conv2 the sizes are no longer those of the text. How much "
         "border leaves 27 as 27 under a 5×5 window, and 13 as 13 under 3×3?"),
    hint(lambda c: same_shape(c) and like(c.got[:-1], c.expected[:-1]),
         "All but the last row is right. It has as many outputs as there are classes, whatever their number."),
    hint(lambda c: same_shape(c) and bool((c.got[c.expected[:, 0] == 0, 0] != 0).any()),
         "A pooling has 0 in the column of the channels: it makes none, and keeps those that come in."),
    hint(lambda c: len(wrong_columns(c)) == 1, "One of the five columns differs from the description. The picture shows which sizes your "
                                               "table leads to."),
)

SIZE_HINTS = (
    hint(would_be(pools_without_channels),
         "A pooling passes on as many channels as come in; the 0 in its row says that it makes no new ones."),
    hint(would_be(sizes_by(lambda n, k, s, p: -(-(n + 2 * p - k) // s) + 1)),
         "You round up. A window that would reach over the border is not placed."),
    hint(would_be(sizes_by(lambda n, k, s, p: (n + p - k) // s + 1)), "The border is added on both sides of the picture."),
    hint(would_be(sizes_by(lambda n, k, s, p: (n + 2 * p - k) // s)),
         "One short everywhere: with no room to move, a window still has one place."),
    hint(would_be(sizes_by(lambda n, k, s, p: (n - k) // s + 1)), "Your sizes are those without padding."),
    hint(lambda c: same_shape(c) and like(c.got[:, 2], c.expected[:, 2]),
         "The channels are right and the sizes are not. Go through the formula for the first layer that differs in the picture."),
    hint(lambda c: same_shape(c) and like(c.got[:, :2], c.expected[:, :2]), "Heights and widths are right; the channels are not."),
)


def pools_counted(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Pools that are taken for convolutions of as many channels as come in."""
    before = incoming(layers, size, channels)
    pools = layers[:, 0] == 0
    return np.where(pools, before[:, 2] * (layers[:, 1] ** 2 * before[:, 2] + 1), parameters(layers, size, channels))


def flat_forgotten(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    """The first dense layer reads one number a channel."""
    before = incoming(layers, size, channels)
    dense = layers[:, 1] == 0
    return np.where(dense, layers[:, 0] * (before[:, 2] + 1), parameters(layers, size, channels))


def groups_doubled(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Both the incoming and the outgoing channels divided by the groups: one tower only."""
    return parameters(layers, size, channels) // layers[:, 4]


COUNT_HINTS = (
    hint(would_be(lambda *a: parameters(*a, groups=False)),
         "You count every channel that comes in. With groups, an output channel reads only those of its own tower."),
    hint(would_be(lambda *a: parameters(*a, bias=False)), "The biases are missing: one for each output channel or neuron."),
    hint(would_be(groups_doubled), "That is one tower. A grouped layer still has all of its output channels: each reads less."),
    hint(would_be(flat_forgotten), "The first dense layer reads every number of the last feature maps, not one for each channel."),
    hint(would_be(pools_counted), "You count weights for the poolings. Taking a maximum has nothing to learn."),
    hint(would_be(lambda *a: macs(*a)), "Those are multiplications. A weight of a convolution is counted once, however often it is used."),
    hint(lambda c: same_shape(c) and like(c.got[c.args[0][:, 1] > 0], c.expected[c.args[0][:, 1] > 0]),
         "Convolutions and poolings are right; look at the dense layers."),
    hint(lambda c: same_shape(c) and like(c.got[c.args[0][:, 1] == 0], c.expected[c.args[0][:, 1] == 0]),
         "The dense layers are right; look at the convolutions. How many numbers does one output channel read at one place?"),
)


def at_input_size(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Every weight used once for each pixel that comes in."""
    before = incoming(layers, size, channels)
    return np.where(layers[:, 1] > 0, parameters(layers, size, channels, bias=False) * before[:, 0] * before[:, 1],
                    parameters(layers, size, channels, bias=False))


def with_biases(layers: np.ndarray, size: int, channels: int) -> np.ndarray:
    out = outputs(layers, size, channels)
    return parameters(layers, size, channels) * out[:, 0] * out[:, 1]


MAC_HINTS = (
    hint(would_be(at_input_size),
         "A weight is used once for each place of the window: that is the size of what comes out, not of what goes in. With stride 4 "
         "the two differ 16-fold."),
    hint(would_be(with_biases), "Close, but a bias is added and not multiplied: it is no multiply-accumulate."),
    hint(lambda c: like(c.got, 2 * c.expected), "Twice too many. A multiplication and the addition behind it are one MAC, and two FLOPs."),
    hint(would_be(lambda *a: macs(*a, groups=False)),
         "You count every channel that comes in. With groups, an output channel reads only those of its own tower."),
    hint(would_be(lambda *a: parameters(*a, bias=False)),
         "Those are the weights. A convolution uses each of them once for every output pixel."),
    hint(lambda c: same_shape(c) and like(c.got[c.args[0][:, 1] == 0], c.expected[c.args[0][:, 1] == 0]),
         "The dense layers are right; how often is a weight of a convolution used?"),
)


def part(case: Case, at: int) -> float:
    """One of the two numbers that came back, or NaN."""
    return float(case.got[at]) if same_shape(case) and case.got.dtype.kind in "fiu" else float("nan")


def kept_without(case: Case, picture: bool = True, pools: bool = True) -> int:
    layers, size, channels, batch = case.args
    each = outputs(layers, size, channels).prod(1)
    if not pools:
        each = each[layers[:, 0] > 0]
    return int(4 * batch * (each.sum() + (size * size * channels if picture else 0)))


BYTE_HINTS = (
    hint(lambda c: like(c.got, c.expected // 4), "You count numbers. A float32 is four bytes."),
    hint(lambda c: part(c, 0) == c.expected[0] // 3,
         "The first number is that of the weights alone. What else does training keep for each of them?"),
    hint(lambda c: part(c, 0) == 2 * c.expected[0] // 3, "One of weights, gradients and momentum is missing."),
    hint(lambda c: part(c, 0) == c.expected[0] * c.args[3], "Weights, gradients and momentum are there once, however many pictures come."),
    hint(lambda c: part(c, 1) * c.args[3] == c.expected[1],
         "Those are the activations of one picture. Every picture of a minibatch has its own."),
    hint(lambda c: part(c, 1) == kept_without(c, picture=False),
         "The pictures themselves are missing: the first layer needs them on the way back."),
    hint(lambda c: part(c, 1) == kept_without(c, pools=False), "The outputs of the poolings are missing. The next layer needs them, too."),
    hint(lambda c: part(c, 0) == c.expected[0],
         "The first number is right. The second is the batch, times everything that one picture leaves."),
    hint(lambda c: part(c, 1) == c.expected[1], "The second number is right. The first counts three numbers for every weight and bias."),
)


def pooled(values: np.ndarray, stride: int = 2) -> np.ndarray:
    """The largest of each 3×3 window."""
    return np.lib.stride_tricks.sliding_window_view(values, (3, 3), axis=(1, 2))[:, ::stride, ::stride].max((-2, -1))


def side_by_side(case: Case) -> np.ndarray:
    """Bias, ReLU, and the largest of 2×2 pixels that are nobody else's."""
    y, b = case.args
    h, w = y.shape[1] // 2, y.shape[2] // 2
    return np.maximum(y[:, :2 * h, :2 * w].reshape(len(y), h, 2, w, 2, -1).max((2, 4)) + b, 0)


TAIL_HINTS = (
    Hint(lambda c: isinstance(c.got, np.ndarray) and c.got.dtype == np.float64,
         "A float64 came in somewhere. It doubles every byte that is moved: say float32 wherever you create an array."),
    hint(lambda c: like(c.got, np.maximum(pooled(c.args[0]), 0) + c.args[1], 1e-6),
         "The bias comes behind the bend. Pooling may change its place; bias and ReLU may not change theirs with each other."),
    hint(lambda c: like(c.got, pooled(c.args[0]) + c.args[1], 1e-6), "The ReLU is missing: the largest of a window can still be negative."),
    hint(lambda c: like(c.got, np.maximum(pooled(c.args[0]), 0), 1e-6), "The bias is missing."),
    hint(lambda c: like(c.got, np.maximum(c.args[0][:, ::2, ::2][:, :c.expected.shape[1], :c.expected.shape[2]] + c.args[1], 0), 1e-6),
         "You keep one number of each window. Pooling keeps the largest of its nine."),
    hint(lambda c: c.got.shape == np.shape(pooled(c.args[0], 1)), "Your windows move by one pixel; these move by two."),
    hint(lambda c: like(c.got, side_by_side(c), 1e-6),
         "Your windows are 2×2, side by side. These are 3×3 and move by two, so they overlap."),
    hint(lambda c: same_shape(c) and bool((c.got <= c.expected + 1e-6).all()),
         "Some of your numbers are too small: a window has nine places, in three rows and three columns. Are all of them read?"),
    hint(same_shape,
         "Some of your numbers are too large: a window reads a place that is not its own, or the picture that came in was changed."),
)

def half_width(value: Callable[[np.ndarray, float], np.ndarray]) -> Callable[[Case], bool]:
    """Only the last column is wrong, and it is what `value(runs, t)` gives."""
    return lambda c: same_shape(c) and like(c.got[:, :3], c.expected[:, :3]) and like(c.got[:, 3], value(*c.args))


ABLATION_HINTS = (
    hint(lambda c: c.got.shape == c.expected.T.shape != c.expected.shape, "Your table is turned: a row is a network, a column a quantity."),
    hint(would_be(lambda runs, t: ablation(runs, t, ddof=0)),
         "You divide by S where the deviation from an estimated mean needs S - 1: with few seeds that is far too optimistic."),
    hint(lambda c: same_shape(c) and like(c.got[:, 1], c.args[0].std(1)),
         "The standard deviation is too small: the mean was estimated from the same few numbers, so divide by S - 1."),
    hint(lambda c: same_shape(c) and like(c.got[:, :2], c.expected[:, :2]) and like(c.got[:, 2], -c.expected[:, 2]),
         "The sign: a network that recognises less than the first one has a positive loss."),
    hint(half_width(lambda runs, t: t * (runs[0] - runs).std(1, ddof=1)),
         "Your interval is that of a single run. The mean of S runs is known better, by the square root of S."),
    hint(half_width(lambda runs, t: t * runs.std(1, ddof=1) / runs.shape[1] ** 0.5),
         "Your half width is that of the accuracy. Asked is that of the loss: take the differences first, seed by seed, and then their "
         "spread. What a seed does to both networks falls out."),
    hint(half_width(lambda runs, t: ablation(runs, 1.96)[:, 3]),
         "1.96 is for hundreds of runs. With few, the spread itself is uncertain: that is what t is for."),
    hint(lambda c: same_shape(c) and like(c.got[:, :3], c.expected[:, :3]),
         "Only the last column is wrong: t, times the spread of the differences, over the root of their number."),
)

# ----------------------------------------------------------------------------------------------------------- pictures

BLUE, ORANGE, RED, GREY = "#0072b2", "#e69f00", "#d55e00", "#9aa0a6"


def names_of(layers: np.ndarray) -> list[str]:
    """conv1, pool1, … for a table of any length, numbered as AlexNet's are."""
    found, number = [], 0
    for k, kernel, *_ in layers.tolist():
        number += bool(k)
        found.append(f"{'fc' if kernel == 0 else 'conv' if k else 'pool'}{number}")
    return found


def _axis(width: float = 7, height: float = 2.9) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axis = figure.subplots()
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return figure, axis


def _missing(got: Any, expected: np.ndarray) -> str:
    """Why there is nothing to draw of the answer, or nothing where there is."""
    if not isinstance(got, np.ndarray):
        return "nothing came back yet"
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    return "" if got.dtype.kind in "fiu" else f"dtype {got.dtype}"


def draw_table(case: Case) -> Figure:
    """The size of the feature maps behind every layer: as the text gives them, and as the answer's table leads to."""
    figure, axis = _axis()
    sides = outputs(case.expected, 227, 3)
    axis.bar(np.arange(len(sides)), sides[:, 0], 0.8, color=GREY, alpha=0.45, label="as in the text")
    for n, (side, _, depth) in enumerate(sides.tolist()):
        axis.text(n, side + 3.5, f"{side}²\n×{depth}" if side > 1 else f"{depth}", ha="center", fontsize=8)
    problem = "nothing came back yet" if not isinstance(case.got, np.ndarray) else ""
    if not problem and (case.got.ndim != 2 or case.got.shape[1] != 5 or case.got.dtype.kind not in "iu"):
        problem = f"a table of whole numbers with five columns is asked for; yours is {case.got.dtype} {case.got.shape}"
    if not problem and ((case.got[:, 1:4] < 0).any() or (case.got[:, 2] < 1).any() or np.abs(case.got).max(initial=0) > 10**6):
        problem = "strides are at least 1, the rest is not negative"
    if not problem:
        yours = outputs(case.got.astype(np.int64), 227, 3)[:len(sides)]
        axis.plot(np.arange(len(yours)), yours[:, 0], "o", color=RED, ms=8, mec="white", label="what your table makes of 227×227")
    else:
        axis.text(0.35, 0.72, problem, fontsize=10, transform=axis.transAxes)
    axis.set_xticks(np.arange(len(sides)), NAMES, rotation=35, fontsize=9)
    axis.set(ylabel="height = width", ylim=(0, 70))
    axis.legend(fontsize=9, frameon=False)
    return figure


def draw_sizes(case: Case) -> Figure:
    """Height and channels behind every layer, expected and yours."""
    figure = Figure(figsize=(7, 2.7), layout="constrained")
    problem = _missing(case.got, case.expected)
    for n, (axis, what) in enumerate(zip(figure.subplots(1, 2), ("height", "channels"), strict=True)):
        at = np.arange(len(case.expected))
        axis.bar(at, case.expected[:, 2 * n], 0.8, color=GREY, alpha=0.45, label="expected")
        if not problem:
            axis.plot(at, case.got[:, 2 * n], "o", color=RED, mec="white", ms=7, label="yours")
        axis.set_xticks(at, names_of(case.args[0]), rotation=50, fontsize=8)
        axis.set_title(what + (f": {problem}" if problem and n == 0 else ""), fontsize=10)
        axis.legend(fontsize=8, frameon=False)
    return figure


def draw_counts(case: Case) -> Figure:
    """One bar for every layer, on a logarithmic scale, expected and yours."""
    figure, axis = _axis()
    at = np.arange(len(case.expected))
    said = f"expected: {case.expected.sum():,} together".replace(",", " ")
    axis.bar(at - 0.2, np.maximum(case.expected, 0.5), 0.4, color=GREY, label=said)
    problem = _missing(case.got, case.expected)
    if not problem:
        said = f"yours: {case.got.sum():,.0f} together".replace(",", " ")
        axis.bar(at + 0.2, np.maximum(case.got.astype(float), 0.5), 0.4, color=BLUE, label=said)
    else:
        axis.plot([], [], " ", label=problem)
    axis.set_yscale("log")
    axis.set_ylim(1, None)
    axis.set_xticks(at, names_of(case.args[0]), rotation=35, fontsize=9)
    axis.legend(fontsize=9, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def draw_bytes(case: Case) -> Figure:
    """The two kinds of bytes, one above the other, expected and yours."""
    figure, axis = _axis(7, 1.9)
    rows = [("expected", case.expected)]
    problem = _missing(case.got, case.expected)
    if not problem:
        rows.append(("yours", case.got))
    for y, (_, (state, kept)) in enumerate(rows):
        axis.barh(y, state / 1e6, color=BLUE, label="weights, gradients, momentum" if y == 0 else None)
        axis.barh(y, kept / 1e6, left=state / 1e6, color=ORANGE, label="pictures and outputs" if y == 0 else None)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.invert_yaxis()
    axis.set_xlabel("MB" + (f"   ({problem})" if problem else ""))
    axis.legend(fontsize=9, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def draw_tail(case: Case) -> Figure:
    """The liveliest channel: what the convolution left, what is expected, yours, and where they differ."""
    y, expected = case.args[0], case.expected
    c = int(expected[0].std((0, 1)).argmax())
    figure = Figure(figsize=(7.4, 2.2), layout="constrained")
    axes = figure.subplots(1, 4)
    problem = _missing(case.got, expected)
    sheets = [(y[0, ..., c], "after the convolution"), (expected[0, ..., c], "expected")]
    if not problem:
        mine = np.nan_to_num(case.got[0, ..., c].astype(float))
        sheets += [(mine, "yours"), (mine - expected[0, ..., c], "difference")]
    for axis, (values, title) in zip(axes, sheets, strict=False):
        limit = float(np.abs(y[0, ..., c] if title.startswith("after") else expected[0, ..., c]).max()) or 1.0
        axis.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=10)
    if problem:
        axes[2].text(0, 0.5, problem.replace(", ", ",\n"), fontsize=9, transform=axes[2].transAxes)
        for axis in axes[2:]:
            axis.set_axis_off()
    for axis in axes:
        axis.set_xticks([]), axis.set_yticks([])
    return figure


def draw_ablation(case: Case) -> Figure:
    """Every run as a dot, the expected loss with its interval, and yours."""
    runs, expected = case.args[0], case.expected
    figure = Figure(figsize=(7, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = np.arange(len(runs))
    for n, row in enumerate(runs):
        left.plot(np.full(len(row), n), row, "o", color=BLUE, alpha=0.55, ms=5)
    left.set(xticks=at, xlabel="network", ylabel="accuracy, %", title="the runs")
    right.errorbar(at - 0.08, expected[:, 2], expected[:, 3], fmt="s", color=GREY, capsize=4, label="expected")
    problem = _missing(case.got, expected)
    if not problem:
        right.errorbar(at + 0.08, case.got[:, 2], np.abs(np.nan_to_num(case.got[:, 3])), fmt="o", color=RED, capsize=4, label="yours")
    right.set(xticks=at, xlabel="network", ylabel="points lost", title=problem or "lost against network 0")
    right.legend(fontsize=9, frameon=False)
    for axis in (left, right):
        axis.title.set_fontsize(10)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure


# -------------------------------------------------------------------------------------------------------- declarations


def dense_share(count: Callable[..., np.ndarray]) -> float:
    """Per cent of `count` that AlexNet's three dense layers hold."""
    each = count(np.array(ALEXNET), 227, 3)
    return 100 * float(each[-3:].sum() / each.sum())


NETWORKS: tuple[Size, ...] = ({"H": 19, "C": 3, "convs": 2, "dense": 2}, {"full": 1})
MORE_NETWORKS: tuple[Size, ...] = ({"H": 40, "C": 1, "convs": 4, "dense": 1}, {"H": 64, "C": 5, "convs": 5, "dense": 3})

EXERCISES: dict[str, Exercise | Prediction] = {
    "alexnet": Exercise(sample=sample_classes, oracle=alexnet, sizes=({"classes": 1000}, {"classes": 10}), hidden=({"classes": 0},),
                        draw=draw_table, hints=TABLE_HINTS),
    "outputs": Exercise(sample=sample_network, oracle=outputs, sizes=NETWORKS, hidden=MORE_NETWORKS, draw=draw_sizes, hints=SIZE_HINTS),
    "dense_share": Prediction(
        truth=lambda verdicts: dense_share(parameters), unit="%",
        explain=lambda guess, truth: "The first dense layer alone connects 9216 numbers with 4096 neurons, every one with every one: 37.8 "
                                     "million weights."),
    "parameters": Exercise(sample=sample_network, oracle=parameters, sizes=NETWORKS, hidden=MORE_NETWORKS, uses=("outputs",),
                           draw=draw_counts, hints=COUNT_HINTS),
    "work_share": Prediction(
        truth=lambda verdicts: dense_share(macs), unit="%",
        explain=lambda guess, truth: "A dense weight is used once for a picture. A weight of conv1 is used at 55×55 = 3025 places."),
    "macs": Exercise(sample=sample_network, oracle=macs, sizes=NETWORKS, hidden=MORE_NETWORKS, uses=("outputs", "parameters"),
                     draw=draw_counts, hints=MAC_HINTS),
    "training_bytes": Exercise(sample=sample_batch, oracle=training_bytes, sizes=NETWORKS, hidden=MORE_NETWORKS,
                               uses=("outputs", "parameters"), draw=draw_bytes, hints=BYTE_HINTS),
    "fused_gain": Prediction(
        truth=speedup("conv_tail"), unit="×", uses=("conv_tail",),
        explain=lambda guess, truth: "Bias and ReLU touch a quarter of the numbers, two arrays as large as the feature maps are never "
                                     "written, and every slice is read in runs of all channels instead of nine numbers at a time."),
    "conv_tail": Exercise(
        sample=sample_tail, oracle=conv_tail, sizes=({"N": 1, "H": 7, "W": 7, "C": 2}, {"N": 2, "H": 8, "W": 11, "C": 3}),
        hidden=({"N": 3, "H": 27, "W": 27, "C": 8}, {"N": 1, "H": 3, "W": 4, "C": 1}), draw=draw_tail, hints=TAIL_HINTS, work=tail_work,
        baselines={"three_steps": three_steps}),
    "ablation": Exercise(
        sample=sample_runs, oracle=ablation, sizes=({"V": 3, "S": 4}, {"V": 5, "S": 3}), hidden=({"V": 7, "S": 5}, {"V": 2, "S": 9}),
        draw=draw_ablation, hints=ABLATION_HINTS),
}
