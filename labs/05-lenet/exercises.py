"""The trusted side of lab 05: inputs, oracles, baselines, pictures and hints.

Conventions: pictures are x (N, H, W, C) float32, kernels w (k, k, C, K), dense weights (C, K). LeNet-5's weights are ten arrays, a
kernel and a bias for each of two convolutions and three dense layers. Nothing of a student's network is ever loaded: its weights come
back as arrays, and a forward pass in NumPy says what the network makes of pictures that were held back.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hpml.exercise import Case, Exercise, Hint, Prediction, Size, Work, clothes, perturbed

# Per cent of held-out pictures, shifted and mirrored, that a network has to recognise. From 2000 pictures the reference reaches 78
# with a standard deviation of 2.9; from the 600 with which time is measured (in course.yml), 71 with 1, and the slow way 66 with 2.6.
REACH = 68
FRAMEWORK = ("tensorflow", "keras")
NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")
BLUE, RED, GREY = "#0072b2", "#d55e00", "#808080"

LENET = """
conv width=6 window=5 border=2
pool window=2 stride=2
conv width=16 window=5
pool window=2 stride=2
dense width=120
dense width=84
dense width=10
"""
SHAPES = ((5, 5, 1, 6), (6,), (5, 5, 6, 16), (16,), (400, 120), (120,), (120, 84), (84,), (84, 10), (10,))

# ------------------------------------------------------------------------------------------------------------- inputs


def sample_pool(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Pictures with numbers of both signs, the window and the stride."""
    shape = (size["N"], size["H"], size["W"], size["C"])
    return rng.standard_normal(shape, dtype=np.float32) - np.float32(size.get("dark", 0)), size["k"], size["s"]


def sample_field(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Windows 1 to 7 and strides 1 to 3 of a stack of layers; LeNet's own first four where `lenet` says so."""
    if size.get("lenet"):
        return np.array([5, 2, 5, 2]), np.array([1, 2, 1, 2])
    return rng.integers(2, 8, size["layers"]), rng.integers(1, 4, size["layers"])


def sample_stack(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A stack of layers as text, the height of the pictures, their channels. At least 2×2 numbers are left where it becomes dense."""
    if size.get("lenet"):
        return LENET.strip(), 28, 1
    while True:
        rows, height = [], int(rng.integers(24, 40))
        at = height
        for n in range(size["convs"]):
            window, border, stride, k = int(rng.choice([3, 5])), int(rng.integers(0, 3)), 2 if n == 1 else 1, int(rng.integers(2, 4))
            rows += [f"conv width={rng.integers(3, 30)} window={window} stride={stride} border={border}", f"pool window={k} stride=2"]
            at = ((at + 2 * border - window) // stride + 1 - k) // 2 + 1
            if at < 5:
                break
        if at >= 2 and len(rows) >= 2 * min(size["convs"], 2):
            break
    rows += [f"dense width={rng.integers(5, 90)}" for _ in range(size["denses"])]
    return "\n".join(rows), height, int(rng.integers(2, 5))


def sample_network(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Pictures and random weights, with biases large enough to matter."""
    pictures = perturbed(clothes()[0][rng.choice(10_000, size["N"], replace=False)], rng)
    weights = [rng.standard_normal(s, dtype=np.float32) * np.float32((2 / np.prod(s[:-1])) ** 0.5 if len(s) > 1 else 0.3) for s in SHAPES]
    return pictures, *weights


def renumbered(pictures: np.ndarray) -> np.ndarray:
    """The number that each class has in this call: another one each time, so that a network from an earlier call is of no use."""
    return np.random.default_rng([zlib.crc32(pictures.tobytes()), 7]).permutation(len(NAMES))


def sample_training(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """N perturbed training pictures, sorted by class as files often are; their labels, renumbered; a seed."""
    x, y = clothes()[:2]
    chosen = rng.choice(len(x), size["N"], replace=False)
    chosen = chosen[np.argsort(y[chosen], kind="stable")]
    pictures = perturbed(x[chosen], rng)
    return pictures, renumbered(pictures)[y[chosen]], int(rng.integers(1 << 30))


# ------------------------------------------------------------------------------------------------------------- oracles


def windows(x: np.ndarray, k: int, s: int = 1) -> np.ndarray:
    """Every window as a view (N, H', W', C, k, k)."""
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]


def pool(x: np.ndarray, k: int, s: int) -> np.ndarray:
    return np.ascontiguousarray(windows(x, k, s).max(axis=(4, 5)))


def receptive_field(kernels: np.ndarray, strides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and steps after each layer: one output reads `size` pixels, its neighbour begins `step` pixels further on."""
    steps = np.cumprod(strides)
    before = np.concatenate([[1], steps[:-1]])
    return 1 + np.cumsum((kernels - 1) * before), steps


def parsed(text: str) -> list[dict[str, Any]]:
    rows = [row.split() for row in text.strip().splitlines()]
    plain = {"width": 0, "window": 1, "stride": 1, "border": 0}
    return [plain | {"kind": kind} | {k: int(v) for k, v in (word.split("=") for word in words)} for kind, *words in rows]


def count(text: str, height: int, channels: int, *, bias: bool = True, border: int = 2, before: bool = False,
          square: bool = True, flat: bool = True, stride: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and multiply-accumulates of each layer. The switches make the mistakes that the hints know."""
    parameters, macs = [], []
    for layer in parsed(text):
        k, width = layer["window"], layer["width"]
        if layer["kind"] == "dense":
            weights = (height**2 * channels if flat else channels) * width
            parameters.append(weights + bias * width)
            macs.append(weights)
            height, channels = 1, width
            continue
        old = height
        height = (height + border * layer["border"] - k) // (layer["stride"] if stride else 1) + 1
        if layer["kind"] == "pool":
            parameters.append(0)
            macs.append(0)
            continue
        weights = (k * k if square else k) * channels * width
        parameters.append(weights + bias * width)
        macs.append(weights * (old if before else height) ** 2)
        channels = width
    return np.array(parameters, np.int64), np.array(macs, np.int64)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def convolved(x: np.ndarray, w: np.ndarray, b: np.ndarray, border: int = 0) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    found: np.ndarray = np.tensordot(windows(padded, len(w)), w, axes=([3, 4, 5], [2, 0, 1])) + b
    return found


def halved(x: np.ndarray, mean: bool = False) -> np.ndarray:
    """Pooling with windows of 2×2 that do not overlap."""
    corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return sum(corners) / np.float32(4) if mean else functools.reduce(np.maximum, corners)


def scores(x: np.ndarray, weights: Any, act: Callable[[np.ndarray], np.ndarray] = relu, mean: bool = False,
           border: int = 2) -> np.ndarray:
    """LeNet-5's ten scores for each picture. The switches make the mistakes that the hints know."""
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = weights
    found = []
    for some in np.array_split(x, -(-len(x) // 100)):
        h = halved(act(convolved(some, w1, b1, border)), mean)
        h = halved(act(convolved(h, w2, b2)), mean).reshape(len(some), -1)
        found.append(act(act(h @ w3 + b3) @ w4 + b4) @ w5 + b5)
    return np.concatenate(found)


def four_wide(shapes: Any) -> np.ndarray:
    """Shapes as rows of four numbers, filled up with zeros."""
    table = np.zeros((len(shapes), 4), np.int64)
    for row, shape in zip(table, shapes, strict=True):
        row[: len(shape)] = shape
    return table


def lenet(x: np.ndarray, *weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return four_wide(SHAPES), scores(x.astype(float), [w.astype(float) for w in weights]).astype(np.float32)


@functools.cache
def reference() -> tuple[np.ndarray, ...]:
    """A network of ours for the picture: Adam, minibatches of 32, eight epochs on 2000 pictures. Trained once, not for each call."""
    import keras

    rng = np.random.default_rng()
    x, y = clothes()[:2]
    chosen = rng.choice(len(x), 2000, replace=False)
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"), layers.Dense(10)])
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(perturbed(x[chosen], rng), y[chosen], batch_size=32, epochs=8, verbose=0)
    return tuple(np.asarray(w) for w in model.get_weights())


def trained(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Our network, with its classes numbered as in this call. Only its shapes are compared with; what counts is `learned`."""
    *before, w5, b5 = reference()
    theirs = np.argsort(renumbered(x))
    return *before, np.ascontiguousarray(w5[:, theirs]), b5[theirs]


def held_out(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A thousand test pictures, perturbed differently for every set of training pictures."""
    _, _, x, y = clothes()
    rng = np.random.default_rng([zlib.crc32(case.args[0].tobytes()), 5])
    chosen = rng.choice(len(x), 1000, replace=False)
    return perturbed(x[chosen], rng), renumbered(case.args[0])[y[chosen]]


def usable(got: Any) -> bool:
    """LeNet's ten arrays, and numbers in all of them."""
    return (isinstance(got, tuple | list) and len(got) == len(SHAPES)
            and all(isinstance(g, np.ndarray) and g.shape == s and g.dtype.kind == "f" and bool(np.isfinite(g).all())
                    for g, s in zip(got, SHAPES, strict=True)))


def accuracy(case: Case) -> float:
    """Share of the held-out pictures that the network recognises; 0 where its weights are none."""
    if not usable(case.got):
        return 0.0
    x, y = held_out(case)
    with np.errstate(all="ignore"):
        return float((scores(x, case.got).argmax(1) == y).mean())


def learned(case: Case) -> bool | str:
    """Whether the network is good enough; otherwise the sentence that says how good it is."""
    if not all(np.isfinite(w).all() for w in case.got):
        return "`train` returned weights that are not finite numbers (NaN or infinity)."
    reached, wanted = accuracy(case), case.size["reach"]
    said = f"The network that `train` returned recognises {reached:.0%} of the pictures held back; {wanted}% is asked for."
    return reached >= wanted / 100 or said


# ----------------------------------------------------------------------------------------------------------- baselines


def window_by_window(x, k, s):
    """Three loops: pictures, rows and columns of the output; the maximum of each window by NumPy."""
    import numpy as np

    N, H, W, C = x.shape
    y = np.empty((N, (H - k) // s + 1, (W - k) // s + 1, C), x.dtype)
    for n in range(N):
        for r in range(y.shape[1]):
            for q in range(y.shape[2]):
                y[n, r, q] = x[n, r * s:r * s + k, q * s:q * s + k].max(axis=(0, 1))
    return y


def framework_pool(x, k, s):
    """TensorFlow's max pooling, called directly: NumPy arrays in, NumPy array out, conversions included."""
    import tensorflow as tf

    return tf.raw_ops.MaxPool(input=x, ksize=[1, k, k, 1], strides=[1, s, s, 1], padding="VALID").numpy()


def one_picture_a_step(x, y, seed):
    """Plain gradient descent, one picture at a time, five times through all of them."""
    import keras

    keras.utils.set_random_seed(seed % (1 << 31))
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"), layers.Dense(10)])
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=1, epochs=5, verbose=0)
    return tuple(model.get_weights())


def training_work(size: Size) -> Work:
    """Once forward and twice backward for each picture, one epoch at least; the pictures read once."""
    return Work(flops=6.0 * size["N"] * float(MACS.sum()), bytes=4.0 * 784 * size["N"])


def pool_work(size: Size) -> Work:
    """k² − 1 comparisons for each output; the picture read once, the output written once."""
    n, c, k, s = (size[a] for a in "NCks")
    outputs = n * c * ((size["H"] - k) // s + 1) * ((size["W"] - k) // s + 1)
    return Work(flops=float((k * k - 1) * outputs), bytes=4.0 * (n * c * size["H"] * size["W"] + outputs))


# ------------------------------------------------------------------------------------------- recognising wrong results


def like(got: Any, wanted: Any, tolerance: float = 1e-4) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers; of tuples, all of them."""
    if isinstance(wanted, tuple):
        same = isinstance(got, tuple | list) and len(got) == len(wanted)
        return same and all(like(g, w, tolerance) for g, w in zip(got, wanted, strict=True))
    if not isinstance(got, np.ndarray) or got.shape != np.shape(wanted) or got.dtype.kind not in "fiu":
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-30)))


def part(case: Case, i: int) -> Any:
    """Part i of a tuple that came back, or None."""
    whole = isinstance(case.got, tuple | list) and len(case.got) == len(case.expected)
    return case.got[i] if whole and isinstance(case.got[i], np.ndarray) else None


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    def fits(case: Case) -> bool:
        with np.errstate(all="ignore"):
            return case.expected is not None and case.got is not None and not like(case.got, case.expected, 1e-5) and bool(when(case))
    return Hint(fits, text)


def double(case: Case) -> bool:
    values = case.got if isinstance(case.got, tuple | list) else [case.got]
    return any(isinstance(g, np.ndarray) and g.dtype == np.float64 for g in values)


DOUBLE = Hint(double, "A float64 came in somewhere. It doubles every byte that is moved: say float32 wherever you create an array.")
WHOLE = Hint(double, "These are counts: whole numbers, int64. An array that is made without a dtype holds float64.")


def side_by_side(case: Case) -> np.ndarray:
    """Windows one beside the other although the stride says otherwise."""
    x, k, _ = case.args
    return pool(x, k, k)


def alone(case: Case) -> bool:
    """One number for a whole window and all its channels."""
    x, k, s = case.args
    return like(case.got, np.broadcast_to(case.expected.max(axis=3, keepdims=True), case.expected.shape))


POOL_HINTS = (
    DOUBLE,
    hint(lambda c: like(c.got, windows(c.args[0], c.args[1], c.args[2]).mean(axis=(4, 5))),
         "These are the means of the windows. Max pooling keeps the largest number."),
    hint(lambda c: like(c.got, relu(c.expected)),
         "Nothing is below zero in your result. Does the maximum begin at 0? All numbers of a window may be negative."),
    hint(lambda c: like(c.got, c.args[0][:, ::c.args[2], ::c.args[2]][:, :c.expected.shape[1], :c.expected.shape[2]]),
         "You keep one corner of each window. The other numbers of the window want to be asked as well."),
    hint(lambda c: c.args[1] != c.args[2] and like(c.got, side_by_side(c)),
         "Your windows lie side by side. How far apart they are is the stride s, which may differ from k."),
    hint(lambda c: like(c.got, pool(c.args[0], c.args[1], 1)),
         "Your windows begin at every pixel: that is stride 1. The next window begins s pixels further on."),
    hint(alone, "All channels of a pixel have the same value. Each channel is pooled alone."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.ndim == 4 and c.got.shape != c.expected.shape
         and c.got.shape[0] == c.expected.shape[0] and c.got.shape[3] == c.expected.shape[3],
         "Count the windows along one side: the first begins at 0, the last one still has to lie inside the picture."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape == c.expected.shape and bool((c.got <= c.expected).all()),
         "Your numbers are never too large, and some are too small: not every pixel of the window was asked."),
)


def field(case: Case, *, after: bool = False, whole: bool = False, strides: bool = True) -> np.ndarray:
    """The sizes that the usual mistakes give."""
    kernels, steps = case.args[0], np.cumprod(case.args[1])
    before = steps if after else np.concatenate([[1], steps[:-1]])
    return 1 + np.cumsum((kernels - (0 if whole else 1)) * (before if strides else 1))


FIELD_HINTS = (
    WHOLE,
    hint(lambda c: like(part(c, 0), field(c, strides=False)) and not like(part(c, 0), c.expected[0]),
         "The strides do not widen anything in your sizes. After a stride of 2, neighbours of that layer look two pixels apart: a window "
         "of k of them reaches further than k - 1 pixels."),
    hint(lambda c: like(part(c, 0), field(c, after=True)),
         "A layer's own stride moves its next output. How far its window reaches is decided by the steps of the layers before it."),
    hint(lambda c: like(part(c, 0), np.cumprod(c.args[0])),
         "Windows do not multiply: those of neighbours overlap. Two windows of 3 with stride 1 see 5 pixels, not 9."),
    hint(lambda c: like(part(c, 0), field(c, whole=True)) or like(part(c, 0), field(c, whole=True) - 1),
         "One pixel is counted twice in every layer. A window of k has only k - 1 gaps between its first and its last input."),
    hint(lambda c: like(part(c, 1), c.args[1]),
         "Your steps are those of each layer alone. A step of a deep layer is so many steps of the layer below, each of which is …"),
    hint(lambda c: part(c, 0) is not None and part(c, 0).shape != c.expected[0].shape,
         "Asked are both numbers after every layer, not only after the last one."),
    hint(lambda c: like(part(c, 0), c.expected[1]) and like(part(c, 1), c.expected[0]), "The two come in the other order: sizes, steps."),
)


def counts(i: int, **mistake: Any) -> Callable[[Case], bool]:
    def when(case: Case) -> bool:
        return like(part(case, i), count(*case.args, **mistake)[i], 0) and not like(part(case, i), case.expected[i], 0)
    return when


COUNT_HINTS = (
    WHOLE,
    hint(counts(0, bias=False), "Your parameters are the weights alone. Every output channel and every neuron has a bias to learn, too."),
    hint(lambda c: like(part(c, 1), c.expected[0], 0) and not like(part(c, 1), c.expected[1], 0),
         "Your MACs are the parameters. In a convolution each weight is used again at every place of the picture."),
    hint(lambda c: like(part(c, 1), 2 * c.expected[1], 0),
         "You count operations: a multiplication and an addition. A MAC is the two of them together."),
    hint(counts(1, before=True), "Your MACs are counted at the height of the layer's input. A sum is made for each pixel of its output."),
    hint(counts(0, flat=False), "The first dense layer sees every pixel of every channel of the picture that comes to it."),
    hint(lambda c: any(counts(i, border=b)(c) for i in (0, 1) for b in (0, 1)),
         "The heights are too small after a layer with a border. The border makes the picture larger on both sides."),
    hint(lambda c: counts(1, stride=False)(c) or counts(0, stride=False)(c), "The heights stay large: a stride leaves out positions."),
    hint(lambda c: counts(0, square=False)(c) or counts(1, square=False)(c), "A window has k rows and k columns."),
    hint(lambda c: part(c, 1) is not None and part(c, 1).shape == c.expected[1].shape and bool((part(c, 1) > c.expected[1]).any())
         and not like(part(c, 1), c.expected[1], 0) and like(part(c, 0), c.expected[0], 0),
         "The parameters are right, some MACs are too many. Which sums does a layer really make, and for how many outputs?"),
    hint(lambda c: part(c, 0) is not None and part(c, 0).shape[0] < c.expected[0].shape[0],
         "Asked is a number for every layer, a zero for those that have nothing to learn."),
)


def made_of(case: Case) -> list[tuple[int, ...]]:
    """The shapes of the network's weight arrays, as far as they came back."""
    table = part(case, 0)
    if table is None or table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind != "i" or len(table) > 100:
        return []
    return [tuple(int(n) for n in row if n > 0) for row in table]


def made_like(**switches: Any) -> Callable[[Case], bool]:
    def when(case: Case) -> bool:
        x, *weights = case.args
        with np.errstate(all="ignore"):
            return like(part(case, 1), scores(x.astype(float), weights, **switches).astype(np.float32))
    return when


def dense_inputs(case: Case) -> int:
    """How many inputs the first dense layer has."""
    return next((shape[0] for shape in made_of(case) if len(shape) == 2), 0)


LENET_HINTS = (
    hint(lambda c: bool(made_of(c)) and sum(len(s) == 4 for s in made_of(c)) == 2 and dense_inputs(c) == 256,
         "The pictures are 4×4 when they reach the dense layers, not 5×5. The first convolution keeps 28×28: it has a border."),
    hint(lambda c: bool(made_of(c)) and sum(len(s) == 4 for s in made_of(c)) == 2 and dense_inputs(c) == 16,
         "A dense layer works on the last axis alone, here the 16 channels of each pixel. All 400 numbers belong into one row first."),
    hint(lambda c: bool(made_of(c)) and sum(len(s) == 4 for s in made_of(c)) == 2 and dense_inputs(c) not in (0, 400),
         "The first dense layer should see 16 channels of 5×5. Follow the height of the pictures from layer to layer: which one does not "
         "make it smaller as it should?"),
    hint(lambda c: bool(made_of(c)) and len(made_of(c)) != len(SHAPES),
         "LeNet-5 has ten arrays of weights: two convolutions and three dense layers, each with its bias."),
    hint(lambda c: bool(made_of(c)) and made_of(c) != list(SHAPES),
         "One of the layers has another width or window than the description says. `lenet().summary()` lists yours."),
    hint(lambda c: part(c, 1) is not None and part(c, 1).ndim == 2 and bool(np.allclose(part(c, 1).sum(1), 1, atol=1e-4)),
         "Your outputs are probabilities. Asked are the scores before the softmax; the loss takes care of it, with less rounding."),
    hint(made_like(mean=True), "This is LeNet with average pooling, as in 1998. Here the largest number of each window is kept."),
    hint(made_like(act=np.tanh), "This is LeNet with tanh, as in 1998. Here the nonlinearity is ReLU."),
    hint(made_like(act=lambda x: x), "No nonlinearity anywhere: then all these layers are no more than one."),
    hint(lambda c: like(part(c, 1), relu(c.expected[1])),
         "Your scores are never negative. The last layer has no ReLU: a class may have something against it."),
    hint(lambda c: part(c, 1) is not None and part(c, 1).shape == c.expected[1].shape,
         "The weights have the right shapes, but the scores differ: compare the activations, layer by layer, with the description."),
)


def training_hint(when: Callable[[Case], bool], text: str) -> Hint:
    """About a network that learned too little; never asked where there is none."""
    def fits(case: Case) -> bool:
        if case.expected is None or not usable(case.got):
            return False
        with np.errstate(all="ignore"):
            return accuracy(case) < case.size["reach"] / 100 and bool(when(case))
    return Hint(fits, text)


def guess(case: Case) -> np.ndarray:
    return scores(held_out(case)[0], case.got).argmax(1)


def strange(case: Case) -> bool:
    return isinstance(case.got, tuple | list) and any(isinstance(g, np.ndarray) and g.dtype.kind == "f" and not np.isfinite(g).all()
                                                      for g in case.got)


TRAIN_HINTS = (
    DOUBLE,
    Hint(strange, "The weights ran away to infinity: the steps are too long. Try a smaller learning rate."),
    training_hint(lambda c: not any(c.got[i].any() for i in (1, 3, 5, 7, 9)),
                  "All biases are zero, as at the beginning: no update has reached this network."),
    training_hint(lambda c: len(np.unique(guess(c))) <= 3,
                  "It takes nearly everything for the same few classes. Three things do that: taking the pictures in the order in which "
                  "they come, sorted; steps so long that the neurons die; a loss that believes the scores to be probabilities."),
    training_hint(lambda c: accuracy(c) > 0.3,
                  "It learns, but not far enough. Count the updates: pictures / batch × epochs. More of them, or better ones?"),
    training_hint(lambda c: True,
                  "It has hardly learned. Does the loss know that it is given scores, not probabilities? Are the steps long enough?"),
)

# ------------------------------------------------------------------------------------------------------------ pictures


def _panel(axis: Any, title: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xticks([]), axis.set_yticks([])


def _say(axis: Any, title: str, words: str) -> None:
    _panel(axis, title)
    axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, transform=axis.transAxes)


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def draw_pool(case: Case) -> Figure:
    """The first channel of the first picture, one window framed; the result, yours, and where they differ."""
    x, k, s = case.args
    limit = float(np.abs(x).max(initial=1e-12))
    options: dict[str, Any] = {"cmap": "PuOr", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    figure = Figure(figsize=(8, 2.4), layout="constrained")
    axes = figure.subplots(1, 4)
    axes[0].imshow(x[0, :, :, 0], **options)
    _panel(axes[0], f"x, window {k}, stride {s}")
    at = min(1, case.expected.shape[1] - 1), min(1, case.expected.shape[2] - 1)
    axes[0].add_patch(Rectangle((at[1] * s - 0.5, at[0] * s - 0.5), k, k, fill=False, ec="#009e73", lw=3))
    axes[1].imshow(case.expected[0, :, :, 0], **options)
    axes[1].add_patch(Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, fill=False, ec="#009e73", lw=3))
    _panel(axes[1], "expected")
    if not isinstance(case.got, np.ndarray):
        _say(axes[2], "yours", "nothing came\nback yet")
        _say(axes[3], "difference", "")
        return figure
    if case.got.shape != case.expected.shape or case.got.dtype.kind not in "fiu":
        _say(axes[2], "yours", f"shape\n{case.got.shape}\nexpected\n{case.expected.shape}")
        _say(axes[3], "difference", "")
        return figure
    mine = np.nan_to_num(np.asarray(case.got[0, :, :, 0], float), posinf=0, neginf=0)
    axes[2].imshow(mine, **options)
    _panel(axes[2], "yours")
    axes[3].imshow(mine - case.expected[0, :, :, 0], **options)
    _panel(axes[3], "difference")
    return figure


def draw_field(case: Case) -> Figure:
    """For each layer, the pixels that two neighbouring outputs read."""
    figure = Figure(figsize=(7.6, 0.55 * len(case.args[0]) + 1.1), layout="constrained")
    axis = figure.subplots()
    sizes, steps = case.expected
    usual = [isinstance(part(case, i), np.ndarray) and part(case, i).shape == sizes.shape and part(case, i).dtype.kind in "iuf"
             and bool(np.isfinite(part(case, i)).all()) for i in (0, 1)]
    for n in range(len(sizes)):
        for neighbour, shade in ((0, 0.9), (1, 0.4)):
            axis.barh(n - 0.18, sizes[n], 0.3, left=neighbour * steps[n], color=GREY, alpha=0.55 * shade, ec=GREY,
                      label="expected" if n == neighbour == 0 else None)
            if all(usual):
                size, step = float(part(case, 0)[n]), float(part(case, 1)[n])
                axis.barh(n + 0.18, size, 0.3, left=neighbour * step, color=BLUE, alpha=shade, ec=BLUE,
                          label="yours" if n == neighbour == 0 else None)
    axis.set_yticks(range(len(sizes)), [f"window {k}, stride {s}" for k, s in zip(*case.args, strict=True)])
    axis.invert_yaxis()
    axis.set_xlabel("pixels of the picture that an output and its neighbour read")
    if not all(usual):
        axis.text(0.98, 0.9, "nothing usable came back yet", ha="right", fontsize=9, transform=axis.transAxes)
    axis.legend(fontsize=9, frameon=False, loc="upper right" if all(usual) else "center right")
    _plain(axis)
    return figure


def draw_count(case: Case) -> Figure:
    """Parameters and MACs of each layer, expected and yours."""
    names = [f"{n + 1} {layer['kind']}" for n, layer in enumerate(parsed(case.args[0]))]
    figure = Figure(figsize=(8, 0.32 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for i, (axis, what) in enumerate(zip(axes, ("parameters", "MACs"), strict=True)):
        axis.barh(np.arange(len(names)) - 0.2, case.expected[i], 0.36, color=GREY, alpha=0.6, label="expected")
        mine = part(case, i)
        if mine is not None and mine.shape == case.expected[i].shape and mine.dtype.kind in "iuf":
            axis.barh(np.arange(len(names)) + 0.2, np.clip(np.nan_to_num(mine.astype(float)), 0, 1e15), 0.36, color=BLUE, label="yours")
        else:
            axis.text(0.6, 0.5, "nothing usable\ncame back yet", ha="center", va="center", fontsize=9, transform=axis.transAxes)
        axis.set_xscale("symlog", linthresh=10)
        axis.set_xlim(left=0)
        axis.set_xlabel(what)
        _plain(axis)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[1].legend(fontsize=9, frameon=False, loc="best")
    return figure


def draw_network(case: Case) -> Figure:
    """The ten scores of each probe, expected and yours; or the shapes that came back."""
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    axes = figure.subplots(1, 3)
    wanted = case.expected[1]
    limit = float(np.abs(wanted).max(initial=1e-12))
    options: dict[str, Any] = {"cmap": "PuOr", "vmin": -limit, "vmax": limit, "aspect": "auto", "interpolation": "nearest"}
    axes[0].imshow(wanted, **options)
    _panel(axes[0], "scores expected")
    mine = part(case, 1)
    fits = made_of(case) == list(SHAPES) and mine is not None and mine.shape == wanted.shape and mine.dtype.kind == "f"
    if fits:
        axes[1].imshow(np.nan_to_num(mine), **options)
        _panel(axes[1], "yours")
        axes[2].imshow(np.nan_to_num(mine) - wanted, **options)
        _panel(axes[2], "difference")
        return figure
    found = made_of(case)
    lines = [" ".join(map(str, shape)) for shape in found[:14]]
    _say(axes[1], "shapes of your weights", "\n".join(lines) if lines else "nothing came\nback yet")
    _say(axes[2], "shapes expected", "\n".join(" ".join(map(str, shape)) for shape in SHAPES))
    return figure


def draw_training(case: Case) -> Figure:
    """For each class, how many of the held-out pictures the reference and your network recognise."""
    x, y = held_out(case)
    classes = renumbered(case.args[0])
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    axis = figure.subplots()
    ways = [("ours", case.expected, GREY), ("yours", case.got, BLUE)]
    for n, (who, weights, colour) in enumerate(ways):
        if not usable(weights):
            continue
        right = scores(x, weights).argmax(1) == y
        shares = [100 * float(right[y == c].mean()) for c in classes]
        axis.bar(np.arange(len(NAMES)) + 0.4 * n, shares, 0.38, color=colour, label=f"{who}: {right.mean():.0%} of all")
    axis.axhline(case.size["reach"], color=RED, ls="--", lw=1.5, label=f"asked for, of all: {case.size['reach']}%")
    axis.set_xticks(np.arange(len(NAMES)) + 0.2, NAMES, fontsize=9)
    axis.set_ylim(0, 100)
    axis.set_ylabel("recognised, %")
    axis.legend(fontsize=9, ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    _plain(axis)
    return figure


# -------------------------------------------------------------------------------------------------------- declarations


def ours(name: str) -> float:
    """A number that `measure.py` found: the mean of several networks of ours, per cent."""
    found = json.loads((Path(__file__).parent / "measured.json").read_text(encoding="utf-8"))
    return float(found[name])


PARAMETERS, MACS = count(LENET, 28, 1)
CONV_SHARE = 100 * float(MACS[:4].sum() / MACS.sum())

EXERCISES: dict[str, Exercise | Prediction] = {
    "pool": Exercise(
        sample=sample_pool, oracle=pool, tolerance={"float32": 0.0}, draw=draw_pool, hints=POOL_HINTS, work=pool_work, seconds=30,
        sizes=({"N": 1, "H": 6, "W": 6, "C": 2, "k": 2, "s": 2}, {"N": 2, "H": 9, "W": 8, "C": 3, "k": 3, "s": 2, "dark": 2}),
        hidden=({"N": 2, "H": 11, "W": 7, "C": 1, "k": 3, "s": 3}, {"N": 1, "H": 9, "W": 9, "C": 4, "k": 2, "s": 3, "dark": 4},
                {"N": 1, "H": 5, "W": 6, "C": 2, "k": 5, "s": 1}),
        baselines={"window_by_window": window_by_window, "framework_pool": framework_pool}),
    "sees": Prediction(
        truth=lambda verdicts: 16.0, unit="pixels",
        explain=lambda guess, truth: "5 after the first convolution, 6 after the pooling. From there on neighbours look 2 pixels apart: "
                                     "the second convolution adds 4 × 2, the second pooling 1 × 2."),
    "receptive_field": Exercise(
        sample=sample_field, oracle=receptive_field, draw=draw_field, hints=FIELD_HINTS,
        sizes=({"layers": 3}, {"layers": 4, "lenet": 1}), hidden=({"layers": 1}, {"layers": 7}, {"layers": 5})),
    "conv_work": Prediction(
        truth=lambda verdicts: CONV_SHARE, unit="%",
        explain=lambda guess, truth: f"{MACS[:4].sum():,} of {MACS.sum():,} MACs, with {PARAMETERS[:4].sum():,} of {PARAMETERS.sum():,} "
                                     "parameters: a weight of the first kernel is used 784 times for a picture, a dense one once."),
    "count": Exercise(
        sample=sample_stack, oracle=count, draw=draw_count, hints=COUNT_HINTS, uses=("layers",),
        sizes=({"convs": 2, "denses": 2}, {"lenet": 1}), hidden=({"convs": 0, "denses": 3}, {"convs": 3, "denses": 1})),
    "lenet": Exercise(
        sample=sample_network, oracle=lenet, draw=draw_network, hints=LENET_HINTS, uses=("network",), sizes=({"N": 6},),
        hidden=({"N": 17},), tolerance={"float32": 1e-4}, preload=FRAMEWORK, forbids=(), seconds=40),
    "train": Exercise(
        sample=sample_training, oracle=trained, accepts=learned, tries=3, uses=("network", "lenet"), draw=draw_training, hints=TRAIN_HINTS,
        sizes=({"N": 2000, "reach": REACH},), work=training_work, preload=FRAMEWORK, forbids=(), seconds=100,
        baselines={"one_picture_a_step": one_picture_a_step}),
    "moved": Prediction(
        truth=lambda verdicts: ours("lenet_moved"), unit="%",
        explain=lambda guess, truth: "The mean of five of our networks; another one differs by a point or two. It loses half as much as "
                                     "the dense network does, and that is still a lot."),
}
