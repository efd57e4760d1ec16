"""The trusted side of lab 07: inputs, oracles, the slow baseline, pictures and hints.

Conventions: pictures NHWC, kernels HWIO, float32, "same" padding as TensorFlow and Keras do it. The oracles are NumPy; that they agree
with Keras is a matter for the tests. A network is compared by its scores with weights that depend on their place alone (`reveal`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpml.exercise import Case, Exercise, Hint, Prediction, Size, Work, speedup

MOMENTUM, EPSILON = 0.9, 1e-3
FRAMEWORK = ("tensorflow", "keras")
WIDTHS = (16, 32, 64)
Row = dict[str, Any]

# ---------------------------------------------------------------------------------------------------------- operations


def conv(x: np.ndarray, w: np.ndarray, stride: int = 1) -> np.ndarray:
    """'Same' convolution of x (N, H, W, C) with w (k, k, C, K): the padding that is odd goes below and to the right."""
    k = len(w)
    pads = []
    for side in x.shape[1:3]:
        total = max((-(-side // stride) - 1) * stride + k - side, 0)
        pads.append((total // 2, total - total // 2))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), *pads, (0, 0))), (k, k), axis=(1, 2))[:, ::stride, ::stride]
    found: np.ndarray = np.tensordot(windows, w, ((4, 5, 3), (0, 1, 2)))
    return found


def pool(x: np.ndarray, k: int = 3) -> np.ndarray:
    """The largest of k×k pixels, stride 1, 'same'."""
    edge = k // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)), constant_values=-np.inf)
    found: np.ndarray = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2)).max((4, 5))
    return found


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def norm(x: np.ndarray) -> np.ndarray:
    """Batch normalisation with the statistics of the minibatch, γ = 1, β = 0."""
    return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + EPSILON)


def shortcut(x: np.ndarray, stride: int, channels: int) -> np.ndarray:
    """Every stride-th pixel, and zeros for channels that x does not have: no weights."""
    x = x[:, ::stride, ::stride]
    return np.pad(x, ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[3])))


def single(*values: np.ndarray) -> Any:
    found = tuple(v.astype(np.float32) for v in values)
    return found if len(found) > 1 else found[0]


# -------------------------------------------------------------------------------------------------- inputs and oracles


def sample_inception(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, H, W, C) and the kernels of the four branches: 1×1; 1×1, 3×3; 1×1, 5×5; 1×1."""
    n, h, c = size["N"], size["H"], size["C"]
    widths = [int(v) for v in rng.permutation(np.arange(2, 8))]
    one, three_in, three, five_in, five, pooled = widths
    x = rng.standard_normal((n, h, h, c), dtype=np.float32)
    shapes = ((1, c, one), (1, c, three_in), (3, three_in, three), (1, c, five_in), (5, five_in, five), (1, c, pooled))
    kernels = [rng.standard_normal((k, k, a, b), dtype=np.float32) * np.float32((k * k * a) ** -0.5) for k, a, b in shapes]
    return x, *kernels


def branches(x: np.ndarray, w1: np.ndarray, w3_in: np.ndarray, w3: np.ndarray, w5_in: np.ndarray, w5: np.ndarray, wp: np.ndarray,
             inner: bool = True, last: bool = True, pooled: Callable[[np.ndarray], np.ndarray] = pool) -> list[np.ndarray]:
    """The four branches of an inception block; without the ReLU inside or at the end, or with another pooling, to recognise mistakes."""
    bend = relu if inner else (lambda y: y)
    end = relu if last else (lambda y: y)
    return [end(conv(x, w1)), end(conv(bend(conv(x, w3_in)), w3)), end(conv(bend(conv(x, w5_in)), w5)), end(conv(pooled(x), wp))]


def inception(*args: np.ndarray) -> np.ndarray:
    found: np.ndarray = single(np.concatenate(branches(*(a.astype(np.float64) for a in args)), axis=-1))
    return found


def sample_norm(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, H, W, C) far from zero, gamma, beta, moving mean and variance, and whether this is training."""
    c = size["C"]
    x = rng.standard_normal((size["N"], size["H"], size["H"], c)) * rng.uniform(0.5, 4, c) + rng.uniform(-5, 5, c)
    gamma, beta, mean, variance = rng.uniform(0.5, 2, c), rng.uniform(-1, 1, c), rng.uniform(-3, 3, c), rng.uniform(0.3, 6, c)
    return (*single(x, gamma, beta, mean, variance), size["training"])


def batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, training: int,
               momentum: float = MOMENTUM, ddof: int = 0) -> tuple[np.ndarray, ...]:
    x, gamma, beta, mean, variance = (a.astype(np.float64) for a in (x, gamma, beta, mean, variance))
    m, v = mean, variance
    if training:
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2), ddof=ddof)
        mean, variance = momentum * mean + (1 - momentum) * m, momentum * variance + (1 - momentum) * v
    found: tuple[np.ndarray, ...] = single(gamma * (x - m) / np.sqrt(v + EPSILON) + beta, mean, variance)
    return found


def sample_block(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, H, H, C), w1 (3, 3, C, K), w2 (3, 3, K, K), and the stride: 1 where K = C, else 2."""
    c, k = size["C"], size["K"]
    x = relu(rng.standard_normal((size["N"], size["H"], size["H"], c), dtype=np.float32))
    w1 = rng.standard_normal((3, 3, c, k), dtype=np.float32) * np.float32((9 * c) ** -0.5)
    w2 = rng.standard_normal((3, 3, k, k), dtype=np.float32) * np.float32((9 * k) ** -0.5)
    return x, w1, w2, 1 if c == k else 2


def residual_block(x: np.ndarray, w1: np.ndarray, w2: np.ndarray, stride: int) -> np.ndarray:
    x = x.astype(np.float64)
    y = norm(conv(relu(norm(conv(x, w1, stride))), w2))
    found: np.ndarray = single(relu(y + shortcut(x, stride, y.shape[3])))
    return found


def sample_network(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A few pictures (N, H, H, C), n, and whether there are shortcuts."""
    return rng.standard_normal((size["N"], size["H"], size["H"], size["C"]), dtype=np.float32), size["n"], size["residual"]


def shapes(channels: int, n: int, bias: bool = False, normal: bool = True) -> list[tuple[int, ...]]:
    """Shapes of all weights of the network, in order."""
    found: list[tuple[int, ...]] = []
    pairs = [(channels, WIDTHS[0])]
    for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
        pairs += [(before, width)] + [(width, width)] * (2 * n - 1)
    for inputs, outputs in pairs:
        found += [(3, 3, inputs, outputs)] + [(outputs,)] * (bias + 4 * normal)
    return [*found, (WIDTHS[-1], 10), (10,)]


def values(listed: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """The weights that `reveal` gives them: a stream of numbers for each place."""
    found = []
    for place, shape in enumerate(listed):
        numbers = np.random.default_rng(place).standard_normal(shape)
        found.append(numbers / np.prod(shape[:-1]) ** 0.5 if len(shape) > 1 else np.abs(1 + 0.1 * numbers))
    return found


def scores(pictures: np.ndarray, n: int, residual: int, bend: str = "after", stride_at: int = 0, average: bool = False,
           softmax: bool = False) -> np.ndarray:
    """The network's scores at inference; the options make mistakes.

    bend       ReLU "after" the addition, "before" it, or "none" at the end of a block
    stride_at  which convolution of a block has the stride; `average`: shortcuts average 2×2 pixels instead of taking every second
    """
    left = iter(values(shapes(pictures.shape[3], n)))

    def normal(x: np.ndarray) -> np.ndarray:
        gamma, beta, mean, variance = (next(left) for _ in range(4))
        return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta

    x = relu(normal(conv(pictures.astype(np.float64), next(left))))
    for stage, width in enumerate(WIDTHS):
        for block in range(n):
            stride = 2 if stage and not block else 1
            y = relu(normal(conv(x, next(left), stride if stride_at == 0 else 1)))
            y = normal(conv(y, next(left), stride if stride_at == 1 else 1))
            side = x
            if average and stride == 2:
                side = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean((2, 4))
            side = shortcut(side, 1 if side is not x else stride, width) * residual
            x = relu(y) + side if bend == "before" else y + side
            x = relu(x) if bend == "after" else x
    z = x.mean((1, 2)) @ next(left) + next(left)
    if softmax:
        powers = np.exp(z - z.max(1, keepdims=True))
        z = powers / powers.sum(1, keepdims=True)
    return z.astype(np.float32)


def table(listed: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Shapes as rows of four numbers, filled up with zeros."""
    return np.array([[*shape, *[0] * (4 - len(shape))] for shape in listed], np.int64)


def resnet(pictures: np.ndarray, n: int, residual: int) -> tuple[np.ndarray, np.ndarray]:
    return table(shapes(pictures.shape[3], n)), scores(pictures, n, residual)


@functools.cache
def models() -> dict[str, list[Row]]:
    """The layers of known models, as models.py wrote them down."""
    found: dict[str, list[Row]] = json.loads((Path(__file__).parent / "models.json").read_text(encoding="utf-8"))
    return found


KNOWN = ("VGG16", "ResNet50", "InceptionV3", "MobileNet", "ResNeXt-101-32x4d")


def small(rng: np.random.Generator) -> list[Row]:
    """A network of a few layers in which everything occurs that is counted."""
    c, k, g, h = int(rng.integers(2, 4)), int(rng.integers(4, 7)), int(rng.integers(2, 4)), int(rng.integers(5, 9))
    rows: list[Row] = [{"kind": "Conv2D", "in": [2 * h, 2 * h, c], "out": [h, h, k * g], "kernel": [3, 5], "groups": 1, "bias": True},
                       {"kind": "BatchNormalization", "in": [h, h, k * g], "out": [h, h, k * g], "scale": True, "center": True},
                       {"kind": "MaxPooling2D", "in": [h, h, k * g], "out": [h // 2, h // 2, k * g]}, ]
    h //= 2
    rows += [{"kind": "Conv2D", "in": [h, h, k * g], "out": [h, h, 2 * k * g], "kernel": [3, 3], "groups": g, "bias": False},
             {"kind": "BatchNormalization", "in": [h, h, 2 * k * g], "out": [h, h, 2 * k * g], "scale": False, "center": True},
             {"kind": "Dense", "in": [2 * k * g], "out": [7], "bias": True}]
    return rows


def sample_count(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return (json.dumps(models()[KNOWN[size["model"] - 1]] if size["model"] else small(rng)),)


def count(text: str, groups: bool = True, bias: bool = True, scale: bool = True, moving: bool = True, place: str = "out",
          norms: bool = False) -> np.ndarray:
    """Parameters, trainable ones, and multiply-accumulates; the options forget something."""
    every = trainable = macs = 0
    for row in json.loads(text):
        inputs, outputs = row["in"][-1], row["out"][-1]
        if row["kind"] == "Conv2D":
            weights = row["kernel"][0] * row["kernel"][1] * (inputs // row["groups"] if groups else inputs) * outputs
            macs += weights * row[place][0] * row[place][1]
        elif row["kind"] == "Dense":
            weights = inputs * outputs
            macs += weights
        elif row["kind"] == "BatchNormalization":
            trainable += inputs * (row["scale"] + row["center"] if scale else 2)
            every += inputs * (row["scale"] + row["center"] if scale else 2) + 2 * inputs * moving
            macs += norms * int(np.prod(row["out"]))
            continue
        else:
            continue
        weights += outputs * row["bias"] if bias else 0
        every, trainable = every + weights, trainable + weights
    return np.array([every, trainable, macs], np.int64)


def sample_fold(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, H, W, C), w (C, K), and gamma, beta, mean, variance (K,)."""
    c, k = size["C"], size["K"]
    x = rng.standard_normal((size["N"], size["H"], size["W"], c), dtype=np.float32)
    w = rng.standard_normal((c, k), dtype=np.float32) * np.float32(c**-0.5)
    return (x, w, *single(rng.uniform(0.5, 2, k), rng.uniform(-1, 1, k), rng.uniform(-1, 1, k), rng.uniform(0.01, 3, k)))


def fold(x: np.ndarray, w: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    x, w, gamma, beta, mean, variance = (a.astype(np.float64) for a in (x, w, gamma, beta, mean, variance))
    found: np.ndarray = single(gamma * (x @ w - mean) / np.sqrt(variance + EPSILON) + beta)
    return found


def two_steps(x, w, gamma, beta, mean, variance):
    """A 1×1 convolution, and then batch normalisation at inference, as its formula says."""
    import numpy as np

    y = (x.reshape(-1, x.shape[3]) @ w).reshape(*x.shape[:3], -1)
    return gamma * (y - mean) / np.sqrt(variance + np.float32(1e-3)) + beta


def fold_work(size: Size) -> Work:
    """A multiplication and an addition for each of C terms of each output, and the one shift that is left."""
    pixels, c, k = size["N"] * size["H"] * size["W"], size["C"], size["K"]
    return Work(flops=2.0 * pixels * c * k + pixels * k, bytes=4.0 * (pixels * (c + k) + c * k + 4 * k))


# ------------------------------------------------------------------------------------------- recognising wrong results


def like(got: Any, wanted: Any, tolerance: float = 1e-4) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers."""
    if not isinstance(got, np.ndarray) or not isinstance(wanted, np.ndarray) or got.shape != wanted.shape or got.dtype.kind not in "fiu":
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-30)))


def part(case: Case, i: int) -> Any:
    """Element i of a tuple that came back, or None."""
    return case.got[i] if isinstance(case.got, tuple | list) and len(case.got) > i else None


def right(case: Case) -> bool:
    if isinstance(case.expected, tuple):
        return all(like(part(case, i), e, 1e-5) for i, e in enumerate(case.expected))
    return like(case.got, case.expected, 1e-6)


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    def fits(case: Case) -> bool:
        with np.errstate(all="ignore"):
            return case.expected is not None and case.got is not None and not right(case) and bool(when(case))
    return Hint(fits, text)


def double(case: Case) -> bool:
    found = case.got if isinstance(case.got, tuple | list) else [case.got]
    return any(isinstance(g, np.ndarray) and g.dtype == np.float64 for g in found)


DOUBLE = Hint(double, "A float64 came in somewhere. Arrays that you create yourself have to say float32.")


def would_be(make: Callable[..., np.ndarray]) -> Callable[[Case], bool]:
    """True where the result is what `make(*arguments)` gives."""
    return lambda case: like(case.got, make(*case.args))


def joined(**options: Any) -> Callable[[Case], bool]:
    return would_be(lambda *args: np.concatenate(branches(*args, **options), axis=-1))


def shuffled(case: Case) -> bool:
    """The four branches, in another order."""
    from itertools import permutations

    found = branches(*case.args)
    others = [order for order in permutations(range(4)) if order != (0, 1, 2, 3)]
    return any(like(case.got, np.concatenate([found[i] for i in order], axis=-1)) for order in others)


INCEPTION_HINTS = (
    DOUBLE,
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape[1:3] != c.expected.shape[1:3],
         "The picture has shrunk. Branches can lie side by side only if all of them keep its height and width: pad them, the pooling too."),
    hint(shuffled, "All four branches are there, in another order. Whoever reads these channels next relies on the order."),
    hint(joined(inner=False), "A branch of two convolutions has no bend between them. Then the two are one linear map, and the second "
                              "1×1 branch could be multiplied into the 3×3."),
    hint(joined(last=False), "The channels come out negative, too: the last convolution of a branch is followed by a ReLU, "
                             "as every one is."),
    hint(joined(pooled=lambda x: x), "The fourth branch does not pool: it looks like one more 1×1 convolution."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.ndim == 4 and c.got.shape[:3] == c.expected.shape[:3],
         "The number of channels should be the sum over the four branches. Which branches does your result hold, and along which axis?"),
)


def norm_would_be(index: int, make: Callable[..., Any]) -> Callable[[Case], bool]:
    return lambda case: like(part(case, index), make(*case.args))


def y_with(axes: tuple[int, ...] | None = None, swap: bool = False, root: bool = True, epsilon: float = EPSILON,
           scale: bool = True) -> Callable[[Case], bool]:
    """y is what comes of a mistake: statistics along other axes, of the other kind, without a root, without epsilon."""
    def make(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, training: int) -> Any:
        m, v = mean, variance
        if bool(training) != swap:
            m, v = x.mean(axes or (0, 1, 2), keepdims=True), x.var(axes or (0, 1, 2), keepdims=True)
        y = (x - m) / ((v + epsilon) ** (0.5 if root else 1))
        return gamma * y + beta if scale else y
    found = norm_would_be(0, make)
    return lambda case: found(case) and not like(part(case, 0), case.expected[0], 1e-5)


NORM_HINTS = (
    DOUBLE,
    hint(lambda c: c.args[5] == 1 and y_with(swap=True)(c),
         "In training you normalise with the moving statistics. They are for later; now the minibatch itself says what its mean is."),
    hint(lambda c: c.args[5] == 0 and y_with(swap=True)(c),
         "At inference you still look at the minibatch. Then the answer for a picture depends on which others happen to come with it."),
    hint(lambda c: any(y_with(axes=axes)(c) for axes in ((0,), (1, 2), (3,), (0, 1, 2, 3), (1, 2, 3))),
         "The mean runs over the wrong axes. One mean and one variance belong to each channel: over all pictures and all pixels."),
    hint(y_with(root=False), "You divide by the variance. What has the units of x is its square root."),
    hint(y_with(scale=False), "The result has mean 0 and variance 1, and stays so. What are gamma and beta for?"),
    hint(lambda c: like(part(c, 0), c.expected[0], 1e-5) and like(part(c, 1), batch_norm(*c.args, momentum=1 - MOMENTUM)[1]),
         "The moving statistics move too fast: most of the old value should stay, and a tenth of the new one come in."),
    hint(lambda c: c.args[5] == 1 and like(part(c, 0), c.expected[0], 1e-5) and like(part(c, 1), c.args[3]),
         "The normalised values are right, and the moving statistics stand still. Where shall inference take them from?"),
    hint(lambda c: c.args[5] == 0 and like(part(c, 0), c.expected[0], 1e-5),
         "At inference nothing is learned: the moving statistics stay as they are."),
    hint(lambda c: like(part(c, 1), c.expected[1], 1e-5) and like(part(c, 2), batch_norm(*c.args, ddof=1)[2], 1e-5),
         "The variance is divided by one less than the number of values. This layer takes the plain mean of the squares."),
    hint(y_with(epsilon=0), "Nearly right: what keeps the division from going wrong where a channel is constant?"),
)


def block_would_be(bend: str = "after", side: Callable[[np.ndarray, int, int], np.ndarray] = shortcut, inner: bool = True,
                   stride_at: int = 0, normed: bool = True) -> Callable[[Case], bool]:
    def make(x: np.ndarray, w1: np.ndarray, w2: np.ndarray, stride: int) -> np.ndarray:
        y = norm(conv(x, w1, stride if stride_at == 0 else 1))
        y = conv(relu(y) if inner else y, w2, stride if stride_at == 1 else 1)
        y = norm(y) if normed else y
        other = side(x, stride, y.shape[3])
        return {"after": relu(y + other), "before": relu(y) + other, "none": y + other}[bend]
    return would_be(make)


def averaged(x: np.ndarray, stride: int, channels: int) -> np.ndarray:
    n, h, w, c = x.shape
    if stride > 1 and h % 2 == 0 and w % 2 == 0:
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return shortcut(x, 1, channels)
    return shortcut(x, stride, channels)


def repeated(x: np.ndarray, stride: int, channels: int) -> np.ndarray:
    x = x[:, ::stride, ::stride]
    return np.concatenate([x] * (channels // x.shape[3]), axis=-1) if channels % x.shape[3] == 0 else shortcut(x, 1, channels)


BLOCK_HINTS = (
    DOUBLE,
    hint(block_would_be(bend="none"), "Negative numbers come out: a block ends with a ReLU, after the addition."),
    hint(block_would_be(bend="before"), "The ReLU comes before the addition. Then the branch can only ever add, never take away."),
    hint(block_would_be(side=lambda x, s, k: 0 * shortcut(x, s, k)), "This is a plain block: x itself does not reach the end."),
    hint(block_would_be(inner=False), "Between the two convolutions nothing bends."),
    hint(block_would_be(normed=False), "The second convolution is not normalised, so branch and shortcut have different sizes."),
    hint(block_would_be(stride_at=1), "The picture shrinks in the second convolution. The first one has the stride, so the second has "
                                      "a quarter of the pixels to look at."),
    hint(block_would_be(side=averaged), "The shortcut averages pixels. It should take every second one as it is, in both directions."),
    hint(block_would_be(side=repeated), "The new channels of the shortcut hold copies. They should start empty: zeros."),
    hint(block_would_be(side=lambda x, s, k: np.roll(shortcut(x, s, k), k - x.shape[3], axis=3)),
         "The zeros stand in front of the channels of x. The channels that there were keep their numbers; the new ones come behind them."),
)


def listed(case: Case) -> list[tuple[int, ...]]:
    """Shapes of the weights that came back, without the zeros."""
    got = part(case, 0)
    if not isinstance(got, np.ndarray) or got.ndim != 2 or got.dtype.kind not in "iu":
        return []
    return [tuple(int(v) for v in row if v) for row in got]


def convolutions(case: Case) -> list[tuple[int, ...]]:
    return [s for s in listed(case) if len(s) == 4]


def net_would_be(**options: Any) -> Callable[[Case], bool]:
    return lambda case: like(part(case, 1), scores(*case.args, **options), 1e-3)


RESNET_HINTS = (
    hint(lambda c: any(s[:2] == (1, 1) for s in convolutions(c)),
         "A shortcut has weights: there is a 1×1 convolution. Here it takes every second pixel and adds empty channels, and "
         "learns nothing."),
    hint(lambda c: listed(c) == shapes(c.args[0].shape[3], c.args[1], bias=True),
         "Each convolution has a bias. The normalisation behind it subtracts the mean, so no bias survives: leave it out."),
    hint(lambda c: bool(listed(c)) and len([s for s in listed(c) if len(s) == 1]) in (1, len(convolutions(c)) + 1),
         "There is no batch normalisation: it follows each convolution, and has four arrays."),
    hint(lambda c: bool(convolutions(c)) and len(convolutions(c)) != 6 * c.args[1] + 1,
         "Count the layers with weights: one convolution at the beginning, 2n in each of three stages, and the dense layer, "
         "6n + 2 in all."),
    hint(lambda c: bool(listed(c)) and listed(c) != shapes(c.args[0].shape[3], c.args[1]) and len(listed(c)) == len(c.expected[0]),
         "The number of layers is right, and some have another width or size: 16, 32 and 64 channels, 3×3 everywhere."),
    hint(net_would_be(softmax=True), "Your scores are probabilities. The last layer has no softmax here: the loss takes care of it."),
    hint(lambda c: c.args[2] == 1 and like(part(c, 1), scores(c.args[0], c.args[1], 0), 1e-3),
         "All weights are there, and the scores are those of the plain network: do the shortcuts reach the sum?"),
    hint(lambda c: c.args[2] == 0 and like(part(c, 1), scores(c.args[0], c.args[1], 1), 1e-3),
         "Asked is the plain network this time, and yours has its shortcuts still."),
    hint(net_would_be(bend="before"), "In each block the ReLU comes before the addition. It belongs after it."),
    hint(net_would_be(bend="none"), "Blocks end without a ReLU."),
    hint(net_would_be(stride_at=1), "The second convolution of a block has the stride. It belongs to the first."),
    hint(net_would_be(average=True), "Your shortcuts average four pixels. They should take every second one, in both directions."),
)

COUNT_HINTS = (
    hint(would_be(lambda text: count(text, place="in")),
         "The multiplications are those of the input's pixels. A kernel is applied once for each pixel of the output."),
    hint(would_be(lambda text: count(text, groups=False)),
         "Grouped convolutions come out too large. An output channel sees the input channels of its own group only."),
    hint(would_be(lambda text: count(text, bias=False)), "The biases are missing."),
    hint(would_be(lambda text: count(text, scale=False)),
         "Some batch normalisations have no scale. Does your count look at what the row says?"),
    hint(lambda c: like(c.got, np.append(count(*c.args)[[0, 0]], count(*c.args)[2]), 0),
         "All parameters are counted as trainable. The moving mean and variance are not learned by gradients."),
    hint(would_be(lambda text: count(text, moving=False)),
         "Each batch normalisation keeps two more numbers a channel, which no gradient touches: the moving mean and variance."),
    hint(lambda c: like(c.got, count(*c.args) * np.array([1, 1, 2]), 0),
         "Your third number is FLOPs, two for each. Asked are MACs, one for each multiply-accumulate."),
    hint(would_be(lambda text: count(text, norms=True)),
         "Normalisations are in your MACs. By convention only convolutions and dense layers are."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape == (3,) and like(c.got[:2], c.expected[:2], 0),
         "Both counts of parameters are right, the MACs are not: how often is each weight used for one picture?"),
)


def fold_with(shift: bool = True, epsilon: float = EPSILON, root: bool = True, bias: bool = True) -> Callable[[Case], bool]:
    def make(x: np.ndarray, w: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        scale = gamma / ((variance + epsilon) ** (0.5 if root else 1))
        return x @ (w * scale) + (beta if bias else 0) - (mean * scale if shift else 0)
    return would_be(make)


def rows_scaled(x: np.ndarray, w: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> Any:
    if w.shape[0] != w.shape[1]:
        return None
    scale = gamma / np.sqrt(variance + EPSILON)
    return x @ (scale[:, None] * w) + beta - mean * scale


FOLD_HINTS = (
    DOUBLE,
    hint(fold_with(shift=False), "The mean has been lost. It was subtracted before the scale was applied: what is left of it in the bias?"),
    hint(fold_with(bias=False), "beta is missing from the bias."),
    hint(fold_with(root=False), "The scale divides by the variance. It should be by its square root."),
    hint(fold_with(epsilon=0), "Nearly right, and wrong where a variance is small: the formula adds something to the variance."),
    hint(lambda c: like(c.got, rows_scaled(*c.args)), "The scale has met the rows of w. A channel of the output is a column."),
    hint(lambda c: like(c.got, (lambda x, w, g, b, m, v: x @ (w * g / np.sqrt(v + EPSILON)) + b - m)(*c.args)),
         "The mean is subtracted as it is. In the formula it is inside the bracket that gamma multiplies."),
)

# ------------------------------------------------------------------------------------------------------------ pictures

BLUE, ORANGE, GREEN, GREY, RED = "#0072b2", "#e69f00", "#009e73", "#9aa0a6", "#d55e00"


def _missing(got: Any, expected: np.ndarray) -> str:
    """Why there is nothing to draw, or nothing where there is."""
    if not isinstance(got, np.ndarray):
        return "nothing came\nback yet"
    if got.shape != expected.shape:
        return f"shape\n{got.shape}\nexpected\n{expected.shape}".replace(", ", ",\u200a")
    return "" if got.dtype.kind in "fiu" else f"dtype {got.dtype}"


def _image(axis: Any, shown: np.ndarray, title: str, limit: float) -> Any:
    axis.set_title(title, fontsize=10)
    axis.set_xticks([]), axis.set_yticks([])
    return axis.imshow(np.nan_to_num(shown.astype(float)), cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")


def _sheet(x: np.ndarray) -> np.ndarray:
    """Pixels of the first picture as rows, channels as columns."""
    return np.asarray(x)[0].reshape(-1, x.shape[3])


def _compare(axes: Any, name: str, got: Any, expected: np.ndarray, cut: Callable[[np.ndarray], np.ndarray] = _sheet) -> None:
    """Expected, yours and their difference, in a row of three axes."""
    limit = max(float(np.abs(expected).max(initial=0)), 1e-12)
    _image(axes[0], cut(expected), f"expected {name}", limit)
    if problem := _missing(got, expected):
        for axis, title, words in ((axes[1], "yours", problem), (axes[2], "difference", "")):
            axis.set_title(title, fontsize=10)
            axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, transform=axis.transAxes)
            axis.set_xticks([]), axis.set_yticks([])
        return
    _image(axes[1], cut(got), "yours", limit)
    with np.errstate(all="ignore"):
        image = _image(axes[2], cut(np.asarray(got, float) - expected), "difference", limit)
    axes[2].figure.colorbar(image, ax=axes[2])


def draw_inception(case: Case) -> Figure:
    """Channels of the output side by side, with the branch that each comes from."""
    widths = [case.args[i].shape[3] for i in (1, 3, 5, 6)]
    figure = Figure(figsize=(7.4, 3.0), layout="constrained")
    axes = figure.subplots(1, 3)
    _compare(axes, "y", case.got, case.expected)
    edge = 0
    for width, name in zip(widths, ("1×1", "3×3", "5×5", "pool"), strict=True):
        if edge:
            axes[0].axvline(edge - 0.5, color=RED, lw=1.5)
        axes[0].annotate(name, (edge + width / 2 - 0.5, 0), xycoords=("data", "axes fraction"), xytext=(0, -12), textcoords="offset points",
                         ha="center", fontsize=8, annotation_clip=False)
        edge += width
    axes[0].set_ylabel("pixels of one picture", fontsize=9)
    axes[0].set_xlabel("\nchannels, branch by branch", fontsize=9)
    return figure


def draw_norm(case: Case) -> Figure:
    """For each channel the spread of its values: before, as it should be, and as yours is; and the moving mean."""
    x, wanted = case.args[0], case.expected
    figure = Figure(figsize=(7.4, 2.9), layout="constrained")
    left, end = figure.subplots(1, 2, width_ratios=[2.2, 1])
    rows = [("x", x, GREY, -0.25), ("expected y", wanted[0], BLUE, 0.0)]
    if not _missing(part(case, 0), wanted[0]):
        rows.append(("your y", np.nan_to_num(part(case, 0)), RED, 0.25))
    for name, shown, colour, off in rows:
        flat = shown.reshape(-1, x.shape[3]).astype(float)
        left.errorbar(np.arange(x.shape[3]) + off, flat.mean(0), flat.std(0), fmt="o", color=colour, capsize=4, label=name)
    left.set(xlabel="channel", ylabel="mean ± standard deviation", xticks=range(x.shape[3]))
    left.set_title("training: the minibatch's statistics" if case.args[5] else "inference: the moving statistics", fontsize=10)
    left.legend(fontsize=8)
    channels = np.arange(x.shape[3])
    end.plot(channels, case.args[3], "_", color=GREY, ms=16, mew=2, label="before")
    end.plot(channels, wanted[1], "o", color=BLUE, ms=9, mfc="none", mew=2, label="expected")
    if not _missing(part(case, 1), wanted[1]):
        end.plot(channels, np.nan_to_num(part(case, 1)), "x", color=RED, ms=7, mew=2, label="yours")
    end.set_title("moving mean", fontsize=10)
    end.set(xlabel="channel", xticks=channels)
    low, high = end.get_ylim()
    end.set_ylim(low, high + 0.6 * (high - low))            # the legend hides no point
    end.legend(fontsize=8, loc="upper center")
    return figure


def draw_block(case: Case) -> Figure:
    """What goes in by the shortcut, the expected sum, yours and the difference."""
    figure = Figure(figsize=(7.4, 2.6), layout="constrained")
    axes = figure.subplots(1, 4)
    side = shortcut(case.args[0], case.args[3], case.args[1].shape[3])
    _image(axes[0], _sheet(side), "the shortcut", max(float(np.abs(case.expected).max()), 1e-12))
    axes[0].set(ylabel="pixels of one picture", xlabel="channels")
    _compare(axes[1:], "y", case.got, case.expected)
    return figure


def draw_resnet(case: Case) -> Figure:
    """All layers with weights, as bars; and the scores, expected against yours."""
    figure = Figure(figsize=(7.4, 2.9), layout="constrained")
    left, end = figure.subplots(1, 2, width_ratios=[2.2, 1])
    wanted = [s for s in shapes(case.args[0].shape[3], case.args[1]) if len(s) > 1]
    mine = [s for s in listed(case) if len(s) > 1]
    left.bar(np.arange(len(wanted)) + 1, [s[-1] for s in wanted], 0.9, color="#c9ced4", label="expected")
    if mine:
        left.plot(np.arange(len(mine)) + 1, [s[-1] for s in mine], "o", color=RED, ms=5, label="yours")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="layers with weights, from the first to the last", ylabel="channels out")
    left.set_title(f"depth {6 * case.args[1] + 2}, {'residual' if case.args[2] else 'plain'}", fontsize=10)
    left.set_ylim(0, 1.35 * max(WIDTHS))
    left.legend(fontsize=8, ncols=2, loc="upper left")
    end.axline((0, 0), slope=1, color=GREY, lw=1)
    goal = case.expected[1]
    end.plot(goal.ravel(), goal.ravel(), "o", ms=8, mfc="none", mec=GREY, label="expected")
    if not _missing(part(case, 1), goal):
        end.plot(goal.ravel(), np.nan_to_num(part(case, 1)).ravel(), "x", color=RED, label="yours")
    else:
        end.text(0.05, 0.9, "no scores yet", transform=end.transAxes, fontsize=9)
    end.set(xlabel="expected score", ylabel="your score")
    return figure


def draw_count(case: Case) -> Figure:
    """Three counts, expected and yours."""
    figure = Figure(figsize=(7.4, 2.1), layout="constrained")
    axes = figure.subplots(1, 3)
    names = ("parameters", "of these, trainable", "MACs")
    for i, (axis, name) in enumerate(zip(axes, names, strict=True)):
        bars = [("expected", float(case.expected[i]), "#c9ced4")]
        if not _missing(case.got, case.expected):
            bars.append(("yours", float(np.nan_to_num(float(case.got[i]))), RED if case.got[i] != case.expected[i] else BLUE))
        for y, (who, value, colour) in enumerate(bars):
            axis.barh(y, value, color=colour, alpha=0.5)
            axis.text(0, y, f" {who}: {value:,.0f}", va="center", fontsize=9, color="#101010")
        axis.set_ylim(1.6, -0.6)
        axis.set_xlim(0, max(1.0, 1.15 * max(value for _, value, _ in bars)))
        axis.set_yticks([]), axis.set_xticks([])
        axis.set_title(name, fontsize=10)
    return figure


def draw_fold(case: Case) -> Figure:
    figure = Figure(figsize=(7.4, 2.4), layout="constrained")
    axes = figure.subplots(1, 3)
    _compare(axes, "y", case.got, case.expected)
    axes[0].set(ylabel="pixels of one picture", xlabel="channels")
    return figure


# -------------------------------------------------------------------------------------------------------- declarations


def saving() -> float:
    """MACs of a 5×5 convolution 192 → 32, over those of 1×1 192 → 16 and 5×5 16 → 32 (GoogLeNet, block 3a)."""
    return 192 * 32 * 25 / (192 * 16 + 16 * 32 * 25)


def vgg_over_resnet() -> float:
    a, b = (float(count(json.dumps(models()[name]))[2]) for name in ("VGG16", "ResNet50"))
    return a / b


NETS = ({"N": 2, "H": 16, "C": 3, "n": 1, "residual": 1}, {"N": 2, "H": 16, "C": 3, "n": 1, "residual": 0},
        {"N": 2, "H": 32, "C": 3, "n": 3, "residual": 1})

EXERCISES: dict[str, Exercise | Prediction] = {
    "bottleneck_saving": Prediction(
        truth=lambda verdicts: saving(), unit="×",
        explain=lambda guess, truth: "For each pixel 192·32·25 multiplications become 192·16 + 16·32·25: the 5×5 window sees a twelfth of "
                                     "the channels, and looking through the 1×1 window first costs something, too."),
    "inception": Exercise(
        sample=sample_inception, oracle=inception, sizes=({"N": 1, "H": 6, "C": 4}, {"N": 2, "H": 7, "C": 9}),
        hidden=({"N": 3, "H": 5, "C": 1},), uses=("framework",), preload=FRAMEWORK, forbids=(), draw=draw_inception, hints=INCEPTION_HINTS,
        seconds=30),
    "vgg_over_resnet": Prediction(
        truth=lambda verdicts: vgg_over_resnet(), unit="×",
        explain=lambda guess, truth: "Three times the layers, a quarter of the work: ResNet-50 halves the picture twice before its "
                                     "first block, half of its multiplications are in 1×1 windows, and there are no large dense layers "
                                     "at its end."),
    "count": Exercise(
        sample=sample_count, oracle=count, sizes=({"model": 0}, {"model": 1}, {"model": 2}),
        hidden=({"model": 3}, {"model": 4}, {"model": 5}), draw=draw_count, hints=COUNT_HINTS),
    "batch_norm": Exercise(
        sample=sample_norm, oracle=batch_norm,
        sizes=({"N": 4, "H": 3, "C": 3, "training": 1}, {"N": 4, "H": 3, "C": 3, "training": 0}, {"N": 8, "H": 2, "C": 5, "training": 1}),
        hidden=({"N": 16, "H": 1, "C": 4, "training": 1}, {"N": 1, "H": 4, "C": 2, "training": 0}), uses=("constants",), draw=draw_norm,
        hints=NORM_HINTS),
    "residual_block": Exercise(
        sample=sample_block, oracle=residual_block, sizes=({"N": 3, "H": 6, "C": 4, "K": 4}, {"N": 3, "H": 6, "C": 4, "K": 8}),
        hidden=({"N": 2, "H": 7, "C": 3, "K": 3}, {"N": 4, "H": 4, "C": 2, "K": 6}), uses=("constants", "batch_norm", "operations"),
        draw=draw_block, hints=BLOCK_HINTS),
    "resnet": Exercise(
        sample=sample_network, oracle=resnet, sizes=NETS, hidden=({"N": 2, "H": 28, "C": 1, "n": 2, "residual": 1},),
        tolerance={"float32": 1e-4}, uses=("framework", "reveal"), preload=FRAMEWORK, forbids=(), draw=draw_resnet, hints=RESNET_HINTS,
        seconds=60),
    "fold_gain": Prediction(
        truth=speedup("fold"), unit="×", uses=("fold",),
        explain=lambda guess, truth: "Four operations a number are next to nothing beside the 128 of the product. But each pass of "
                                     "the formula fetches the whole output and writes it again, and moving numbers is what takes the "
                                     "time."),
    "fold": Exercise(
        sample=sample_fold, oracle=fold, sizes=({"N": 1, "H": 4, "W": 3, "C": 5, "K": 5}, {"N": 2, "H": 3, "W": 3, "C": 4, "K": 7}),
        hidden=({"N": 3, "H": 5, "W": 4, "C": 16, "K": 33}, {"N": 1, "H": 1, "W": 1, "C": 3, "K": 2}), uses=("constants",), draw=draw_fold,
        hints=FOLD_HINTS, work=fold_work, baselines={"two_steps": two_steps}),
}
