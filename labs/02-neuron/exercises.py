"""The trusted side of lab 02: inputs, oracles, baselines, pictures and hints.

Conventions: a minibatch is x (N, C) float32, a layer's weights are w (C, K), one column a neuron, its biases b (K,). The network is
784 → H → 10 with one ReLU; labels y are (N,) int64. The oracles compute in float64. Only `train` has many right results: it is judged by
its accuracy on pictures that were held back.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpml.exercise import Case, Exercise, Hint, Prediction, Size, Work, clothes, perturbed, speedup

# Per cent of held-out pictures, shifted and mirrored, that a network has to recognise. From 4000 pictures the reference reaches 74.5 with
# a standard deviation of 0.8; from the 1000 with which time is measured (in course.yml), 66 with 2.2.
REACH = 70
PIXELS, CLASSES = 784, 10
NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")

# ----------------------------------------------------------------------------------------------------- data and inputs


def as_rows(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Perturbed pictures as rows of 784 numbers, centred by 0.3."""
    return perturbed(pictures, rng).reshape(len(pictures), -1) - np.float32(0.3)


def beginning(hidden: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Random weights whose spread keeps the size of the numbers from layer to layer (He et al. 2015), and biases of zero."""
    w1 = rng.standard_normal((PIXELS, hidden), dtype=np.float32) * np.float32((2 / PIXELS) ** 0.5)
    w2 = rng.standard_normal((hidden, CLASSES), dtype=np.float32) * np.float32((2 / hidden) ** 0.5)
    return w1, np.zeros(hidden, np.float32), w2, np.zeros(CLASSES, np.float32)


def sample_neuron(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, C), the weights w (C,) and the bias b of one neuron."""
    x = rng.standard_normal((size["N"], size["C"]), dtype=np.float32)
    return x, rng.standard_normal(size["C"], dtype=np.float32), float(rng.uniform(0.5, 1.5))


def sample_dense(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, C), w (C, K) and b (K,)."""
    x, w, b = (rng.random(shape, dtype=np.float32) for shape in ((size["N"], size["C"]), (size["C"], size["K"]), (size["K"],)))
    for values in (x, w, b):
        values -= np.float32(0.5)
    return x, w, b


def sample_scores(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Scores z (N, K), of a spread of `scale`, and labels y (N,)."""
    z = rng.standard_normal((size["N"], size["K"]), dtype=np.float32) * np.float32(size["scale"])
    return z, rng.integers(0, size["K"], size["N"])


def sample_network(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, C), y (N,), and w1, b1, w2, b2 of a network C → H → K."""
    n, c, h, k = (size[a] for a in "NCHK")
    x = rng.standard_normal((n, c), dtype=np.float32)
    w1, w2 = (rng.standard_normal(s, dtype=np.float32) * np.float32(s[0] ** -0.5) for s in ((c, h), (h, k)))
    b1, b2 = (rng.standard_normal(s, dtype=np.float32) for s in (h, k))
    return x, rng.integers(0, k, n), w1, b1, w2, b2


def sample_training(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """N perturbed training pictures, sorted by class as files often are; beginnings; epochs, rate, batch and a seed."""
    x, y = clothes()[:2]
    chosen = rng.choice(len(x), size["N"], replace=False)
    chosen = chosen[np.argsort(y[chosen], kind="stable")]
    settings = (size["epochs"], 0.05, size["batch"], int(rng.integers(1 << 30)))
    return (as_rows(x[chosen], rng), y[chosen], *beginning(size["H"], rng), *settings)


# ------------------------------------------------------------------------------------------------------------- oracles


def neuron(x: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    return np.maximum(x.astype(float) @ w + b, 0).astype(np.float32)


def dense(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(x.astype(float) @ w + b, 0).astype(np.float32)


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = z.astype(float)
    top = z.max(1)
    loss = np.log(np.exp(z - top[:, None]).sum(1)) + top - z[np.arange(len(z)), y]
    dz = (softmax(z) - np.eye(z.shape[1])[y]) / len(z)
    return loss.astype(np.float32), dz.astype(np.float32)


def gradients(x: np.ndarray, y: np.ndarray, *weights: np.ndarray, mask: bool = True) -> tuple[np.ndarray, ...]:
    x, w1, b1, w2, b2 = (a.astype(float) for a in (x, *weights))
    before = x @ w1 + b1
    h = np.maximum(before, 0)
    dz = (softmax(h @ w2 + b2) - np.eye(len(b2))[y]) / len(x)
    dh = dz @ w2.T * (before > 0 if mask else 1)
    return tuple(g.astype(np.float32) for g in (x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)))


def trained(x: np.ndarray, y: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray, epochs: int, rate: float,
            batch: int, seed: int) -> tuple[np.ndarray, ...]:
    """The reference: minibatches in a new random order each epoch."""
    weights, rng = [a.copy() for a in (w1, b1, w2, b2)], np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch):
            some = order[first:first + batch]
            rows, h = x[some], np.maximum(x[some] @ weights[0] + weights[1], 0)
            dz = softmax(h @ weights[2] + weights[3])
            dz[np.arange(len(some)), y[some]] -= 1
            dz /= len(some)
            dh = dz @ weights[2].T * (h > 0)
            for weight, step in zip(weights, (rows.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)), strict=True):
                weight -= np.float32(rate) * step
    return tuple(weights)


def scores(x: np.ndarray, weights: Any) -> np.ndarray:
    w1, b1, w2, b2 = weights
    return np.maximum(x @ w1 + b1, 0) @ w2 + b2


def held_out(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Test pictures, perturbed differently for every set of training pictures."""
    _, _, x, y = clothes()
    return as_rows(x, np.random.default_rng([zlib.crc32(case.args[0].tobytes()), 2])), y


def accuracy(case: Case, weights: Any) -> float:
    """Share of the held-out pictures that a network recognises; 0 where its weights are not finite."""
    if not (isinstance(weights, tuple) and all(isinstance(w, np.ndarray) and np.isfinite(w).all() for w in weights)):
        return 0.0
    x, y = held_out(case)
    with np.errstate(all="ignore"):
        return float((scores(x, weights).argmax(1) == y).mean())


def learned(case: Case) -> bool | str:
    """Whether the network is good enough; otherwise the sentence that says how good it is."""
    if not all(np.isfinite(w).all() for w in case.got):
        return "`train` returned weights that are not finite numbers (NaN or infinity)."
    reached = accuracy(case, case.got)
    wanted = case.size["reach"]
    said = f"The network that `train` returned recognises {reached:.0%} of the pictures held back; {wanted}% is asked for."
    return reached >= wanted / 100 or said


# ----------------------------------------------------------------------------------------------------------- baselines


def loop_over_pictures(x, w, b):
    """The same layer, one picture after the other."""
    import numpy as np

    y = np.empty((len(x), w.shape[1]), np.float32)
    for n in range(len(x)):
        y[n] = np.maximum(x[n] @ w + b, 0)
    return y


def training_picture_by_picture(x, y, w1, b1, w2, b2, epochs, rate, batch, seed):
    """The same training; each picture of a minibatch goes through the network alone."""
    import numpy as np

    w1, b1, w2, b2 = w1.copy(), b1.copy(), w2.copy(), b2.copy()
    rng, rate = np.random.default_rng(seed), np.float32(rate)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch):
            some = order[first:first + batch]
            dw1, db1, dw2, db2 = (np.zeros_like(a) for a in (w1, b1, w2, b2))
            for n in some:
                h = np.maximum(x[n] @ w1 + b1, 0)
                z = h @ w2 + b2
                p = np.exp(z - z.max())
                dz = p / p.sum()
                dz[y[n]] -= 1
                dz /= len(some)
                dh = (w2 @ dz) * (h > 0)
                dw2 += np.outer(h, dz)
                db2 += dz
                dw1 += np.outer(x[n], dh)
                db1 += dh
            w1 -= rate * dw1
            b1 -= rate * db1
            w2 -= rate * dw2
            b2 -= rate * db2
    return w1, b1, w2, b2


def dense_work(size: Size) -> Work:
    """A multiplication and an addition for each weight and picture; x, w and b read once, y written once."""
    n, c, k = size["N"], size["C"], size["K"]
    return Work(flops=2.0 * n * c * k, bytes=4.0 * (n * c + c * k + k + n * k))


# ------------------------------------------------------------------------------------------- recognising wrong results


def like(got: Any, wanted: Any, tolerance: float = 1e-4) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers; of tuples, all of them."""
    if isinstance(wanted, tuple):
        same = isinstance(got, tuple | list) and len(got) == len(wanted)
        return same and all(like(g, w, tolerance) for g, w in zip(got, wanted, strict=True))
    if not isinstance(got, np.ndarray) or got.shape != wanted.shape or got.dtype.kind not in "fiu":
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-30)))


def part(case: Case, i: int) -> Any:
    """Part i of a tuple that came back, or None."""
    whole = isinstance(case.got, tuple | list) and len(case.got) == len(case.expected)
    return case.got[i] if whole and isinstance(case.got[i], np.ndarray) else None


def strange(value: Any) -> bool:
    """An array with NaN or infinity in it."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and not bool(np.isfinite(value).all())


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    def fits(case: Case) -> bool:
        with np.errstate(all="ignore"):
            return case.expected is not None and case.got is not None and not like(case.got, case.expected, 1e-5) and bool(when(case))
    return Hint(fits, text)


def flat(case: Case) -> tuple[np.ndarray, ...]:
    """x, w, b of a layer in float64."""
    x, w, b = case.args
    return np.asarray(x, float), np.asarray(w, float), np.asarray(b, float)


def affine(case: Case) -> np.ndarray:
    x, w, b = flat(case)
    return x @ w + b


def double(case: Case) -> bool:
    values = case.got if isinstance(case.got, tuple | list) else [case.got]
    return any(isinstance(g, np.ndarray) and g.dtype == np.float64 for g in values)


DOUBLE = Hint(double, "A float64 came in somewhere. It doubles every byte that is moved: say float32 wherever you create an array.")
RELU = hint(lambda c: like(c.got, affine(c)),
            "Right up to the last step: these are the sums before the nonlinearity. What becomes of the negative ones?")
BIAS_LATE = hint(lambda c: like(c.got, np.maximum(flat(c)[0] @ flat(c)[1], 0) + flat(c)[2]),
                 "The bias comes too late. It moves the point at which a neuron begins to answer, so it belongs inside the nonlinearity.")
NO_BIAS = hint(lambda c: like(c.got, np.maximum(flat(c)[0] @ flat(c)[1], 0)), "Your result is what comes out for a bias of zero.")
CLIPPED = hint(lambda c: like(c.got, np.abs(affine(c))), "ReLU does not take the absolute value: what is negative becomes zero.")
SIGN = hint(lambda c: like(c.got, (affine(c) > 0).astype(float)), "You return whether a neuron answers; asked is how strongly.")

NEURON_HINTS = (
    DOUBLE, RELU, BIAS_LATE, NO_BIAS, CLIPPED, SIGN,
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape == c.args[0].shape,
         "You have N rows of C products. A neuron gives one number for each picture: what happens to the C products?"),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.ndim == 0,
         "That is one number for all pictures together. Each row is a picture."),
)

DENSE_HINTS = (
    DOUBLE, RELU, BIAS_LATE, NO_BIAS, CLIPPED, SIGN,
    hint(lambda c: like(c.got, c.expected.T), "Your result is transposed: a row is a picture, a column a neuron."),
    hint(lambda c: c.args[1].shape[0] == c.args[1].shape[1] and like(c.got, np.maximum(flat(c)[0] @ flat(c)[1].T + flat(c)[2], 0)),
         "The weights are used as if a row were a neuron. Here a neuron is a column of w."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.shape == c.expected.shape and like(c.got[:1], c.expected[:1]),
         "The first picture is right and a later one is not: every row of x takes the same way."),
)

def one_sum(case: Case) -> np.ndarray:
    """The losses of one softmax over all scores of the minibatch."""
    z, y = case.args[0].astype(float), case.args[1]
    return np.log(np.exp(z).sum()) - z[np.arange(len(y)), y]


LOSS_HINTS = (
    DOUBLE,
    hint(lambda c: strange(part(c, 0)) and strange(part(c, 1)),
         "With scores in the hundreds the exponential is larger than any float32. Softmax does not change when the same number is "
         "subtracted from all scores of a picture: which number keeps every exponent at or below zero?"),
    hint(lambda c: strange(part(c, 0)) and not strange(part(c, 1)),
         "The gradient is finite and the loss is not: a probability was rounded to 0 before its logarithm was taken. "
         "Write the logarithm of a quotient as a difference first."),
    hint(lambda c: like(part(c, 1), c.expected[1] * len(c.args[1])),
         "dz is too large by the number of pictures. The loss of a minibatch is a mean, so each picture has its share."),
    hint(lambda c: like(part(c, 0), -c.expected[0]),
         "Your losses are negative. The loss falls as the probability of the right class grows."),
    hint(lambda c: like(part(c, 1), -c.expected[1]),
         "dz points the wrong way: the score of the right class should be pushed up by a step against the gradient."),
    hint(lambda c: like(part(c, 1), softmax(c.args[0].astype(float)) / len(c.args[1])),
         "dz holds the probabilities alone. What does the derivative say about the one score that belongs to the label?"),
    hint(lambda c: isinstance(part(c, 0), np.ndarray) and part(c, 0).ndim == 0, "Asked is one loss for each picture, not their mean."),
    hint(lambda c: len(c.args[0]) > 1 and like(part(c, 0), one_sum(c)),
         "Your sum runs over the whole minibatch. Each picture has a softmax of its own."),
    hint(lambda c: isinstance(part(c, 1), np.ndarray) and bool(np.allclose(part(c, 1).sum(0), 0, atol=1e-6)) and len(c.args[0]) > 1,
         "Each column of dz sums to zero; each row should. A softmax runs over the classes of one picture."),
)


def scaled(i: int, factor: Callable[[Case], float]) -> Callable[[Case], bool]:
    return lambda c: factor(c) != 1 and like(part(c, i), c.expected[i] * factor(c))


GRADIENT_HINTS = (
    DOUBLE,
    hint(lambda c: part(c, 0) is not None and part(c, 0).shape == c.expected[0].shape[::-1] != c.expected[0].shape,
         "dw1 is transposed. A gradient has the shape of what it belongs to."),
    hint(lambda c: part(c, 0) is not None and part(c, 0).shape != c.expected[0].shape and part(c, 0).shape == c.expected[2].shape,
         "The gradients come in another order: first those of the first layer."),
    hint(lambda c: like(part(c, 0), gradients(*c.args, mask=False)[0]) and not like(part(c, 0), c.expected[0]),
         "dw2 is right and dw1 is not. A hidden neuron that answered zero would answer zero after a small change, too: what gradient may "
         "pass through it?"),
    hint(scaled(0, lambda c: 1 / len(c.args[1])), "dw1 is too small by the number of pictures. The mean is already in dz; from there on "
                                                  "the pictures' shares add up."),
    hint(scaled(0, lambda c: float(len(c.args[1]))), "dw1 is too large by the number of pictures: the loss is their mean."),
    hint(scaled(3, lambda c: 1 / len(c.args[1])), "db2 is too small by the number of pictures. Every picture uses the same bias, so their "
                                                  "shares add up; the mean is already in dz."),
    hint(lambda c: part(c, 3) is not None and part(c, 3).shape == (len(c.args[1]), len(c.expected[3])),
         "db2 has a row for each picture. All pictures use the same bias: what happens to their shares?"),
    hint(lambda c: all(like(part(c, i), -c.expected[i]) for i in range(4)), "All four point the wrong way: gradients go uphill; the update "
                                                                            "takes care of the minus sign."),
)


def guess(case: Case) -> np.ndarray:
    """What the network that came back takes the held-out pictures for."""
    return scores(held_out(case)[0], case.got).argmax(1)


def usable(case: Case) -> bool:
    return (isinstance(case.got, tuple | list) and len(case.got) == 4
            and all(isinstance(g, np.ndarray) and g.shape == e.shape and g.dtype.kind == "f" and np.isfinite(g).all()
                    for g, e in zip(case.got, case.expected, strict=True)))


def loss(case: Case, weights: Any) -> float:
    return float(cross_entropy(scores(case.args[0], weights), case.args[1])[0].mean())


def training_hint(when: Callable[[Case], bool], text: str) -> Hint:
    """About a network that learned too little; never asked where there is none."""
    def fits(case: Case) -> bool:
        if case.expected is None or not usable(case):
            return False
        with np.errstate(all="ignore"):
            return accuracy(case, tuple(case.got)) < case.size["reach"] / 100 and bool(when(case))
    return Hint(fits, text)


def few_updates(case: Case) -> bool:
    """As much as a few large steps can do: what full batches would give."""
    x, y, *weights, epochs, rate, _, seed = case.args
    return loss(case, case.got) > 0.9 * loss(case, trained(x, y, *weights, epochs, rate, len(x), seed))


TRAIN_HINTS = (
    DOUBLE,
    Hint(lambda c: isinstance(c.got, tuple | list) and any(strange(g) for g in c.got),
         "The weights ran away. Each step goes against the gradient, and its length is the rate times the gradient of a mean loss."),
    training_hint(lambda c: like(tuple(c.got), tuple(c.args[2:6]), 1e-6), "These are the weights you were given: no update reached them."),
    training_hint(lambda c: loss(c, c.got) > 1.5 * loss(c, c.args[2:6]),
                  "The loss is higher than before training: each step goes against the gradient."),
    training_hint(lambda c: np.bincount(guess(c), minlength=CLASSES)[:3].sum() < 0.03 * len(guess(c)),
                  "It takes hardly anything for one of the first classes. The pictures come sorted by class, so whoever takes them in that "
                  "order has hundreds of examples of the same at the end: what should happen before each epoch?"),
    training_hint(few_updates, "It went the right way, and not far. How many updates does one epoch make: one, or one for each minibatch?"),
)


# ------------------------------------------------------------------------------------------------------------ pictures


def _image(axis: Any, values: np.ndarray, title: str, limit: float) -> Any:
    axis.set_title(title, fontsize=10)
    axis.set_xticks([]), axis.set_yticks([])
    return axis.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")


def _missing(got: Any, expected: np.ndarray) -> str:
    """Why there is nothing to draw, or nothing where there is."""
    if not isinstance(got, np.ndarray):
        return "nothing came\nback yet"
    if got.shape != expected.shape:
        return f"shape\n{got.shape}\nexpected\n{expected.shape}".replace(", ", ",\u200a")
    return "" if got.dtype.kind in "fiu" else f"dtype {got.dtype}"


def _sheet(values: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.nan_to_num(np.asarray(values, float), posinf=0, neginf=0))


def _compare(axes: Any, name: str, got: Any, expected: np.ndarray) -> None:
    """Expected, yours and their difference, in a row of three axes."""
    limit = max(float(np.abs(expected).max(initial=0)), 1e-12)
    _image(axes[0], _sheet(expected), f"expected {name}", limit)
    if problem := _missing(got, expected):
        for axis, words in ((axes[1], problem), (axes[2], "")):
            axis.set_title("yours" if words else "difference", fontsize=10)
            axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, transform=axis.transAxes)
            axis.set_xticks([]), axis.set_yticks([])
        return
    _image(axes[1], _sheet(got), "yours", limit)
    with np.errstate(all="ignore"):
        image = _image(axes[2], _sheet(np.asarray(got, float) - expected), "difference", limit)
    axes[2].figure.colorbar(image, ax=axes[2])


def draw_neuron(case: Case) -> Figure:
    """The weighted sum of each picture on the horizontal axis, the neuron's answer above it."""
    x, w, b = case.args
    sums = x @ w + b
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axis = figure.subplots()
    reach = float(np.abs(sums).max()) * 1.15 + 0.1
    axis.plot([-reach, 0, reach], [0, 0, reach], color="#808080", lw=1.2, label="ReLU")
    axis.plot(sums, case.expected, "o", ms=11, mfc="none", mec="#0072b2", mew=2, label="expected")
    if not (problem := _missing(case.got, case.expected)):
        axis.plot(sums, np.nan_to_num(case.got), "x", color="#d55e00", ms=8, mew=2.2, label="yours")
    else:
        axis.text(0.03, 0.5, problem.replace("\n", " "), fontsize=10, transform=axis.transAxes)
    axis.set_xlabel("x·w + b, one mark for each picture")
    axis.set_ylabel("answer")
    axis.legend(fontsize=9, frameon=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return figure


def draw_dense(case: Case) -> Figure:
    """x, w, and the output: expected, yours, the difference."""
    figure = Figure(figsize=(7.6, 2.3), layout="constrained")
    axes = figure.subplots(1, 5)
    _image(axes[0], case.args[0], "x", float(np.abs(case.args[0]).max()))
    _image(axes[1], case.args[1], "w", float(np.abs(case.args[1]).max()))
    _compare(axes[2:], "y", case.got, case.expected)
    axes[0].set_ylabel("pictures")
    axes[2].set_xlabel("neurons", fontsize=9)
    return figure


def draw_loss(case: Case) -> Figure:
    """The losses and dz, each beside yours."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots(2, 3, height_ratios=[1, 2.4])
    _compare(axes[0], "loss", part(case, 0), case.expected[0])
    _compare(axes[1], "dz", part(case, 1), case.expected[1])
    return figure


def draw_gradients(case: Case) -> Figure:
    """dw1 and dw2, each beside yours."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots(2, 3)
    _compare(axes[0], "dw1", part(case, 0), case.expected[0])
    _compare(axes[1], "dw2", part(case, 2), case.expected[2])
    return figure


def draw_training(case: Case) -> Figure:
    """For each class, how many of the held-out pictures the reference and your network recognise."""
    x, y = held_out(case)
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    axis = figure.subplots()
    ways = [("ours", case.expected, "#808080")]
    if usable(case):
        ways.append(("yours", case.got, "#0072b2"))
    for n, (who, weights, colour) in enumerate(ways):
        right = scores(x, weights).argmax(1) == y
        shares = [100 * float(right[y == c].mean()) for c in range(CLASSES)]
        axis.bar(np.arange(CLASSES) + 0.4 * n, shares, 0.38, color=colour, label=f"{who}: {right.mean():.0%} of all")
    axis.axhline(case.size["reach"], color="#d55e00", ls="--", lw=1.5, label=f"asked for, of all: {case.size['reach']}%")
    axis.set_xticks(np.arange(CLASSES) + 0.2, NAMES, fontsize=9)
    axis.set_ylim(0, 100)
    axis.set_ylabel("recognised, %")
    axis.legend(fontsize=9, ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return figure


# -------------------------------------------------------------------------------------------------------- declarations


STEP = (2 * (784 * 128 + 128 * 10) + 128 * 10) / (784 * 128 + 128 * 10)

EXERCISES: dict[str, Exercise | Prediction] = {
    "neuron": Exercise(
        sample=sample_neuron, oracle=neuron, sizes=({"N": 8, "C": 3}, {"N": 40, "C": 784}), hidden=({"N": 1, "C": 1}, {"N": 64, "C": 10}),
        draw=draw_neuron, hints=NEURON_HINTS),
    "parameters": Prediction(
        truth=lambda verdicts: float(784 * 128 + 128 + 128 * 10 + 10),
        explain=lambda guess, truth: "784 weights and one bias for each of 128 neurons, then 128 weights and one bias for each of 10."),
    "batch_gain": Prediction(
        truth=speedup("dense"), unit="×", uses=("dense",),
        explain=lambda guess, truth: "A weight that is fetched for the batch works for 256 pictures instead of one. That it is not 256 "
                                     "times as fast has its own reason: these 0.4 MB stay in a cache, where "
                                     "fetching them again costs little."),
    "dense": Exercise(
        sample=sample_dense, oracle=dense, sizes=({"N": 4, "C": 6, "K": 3}, {"N": 3, "C": 5, "K": 5}),
        hidden=({"N": 1, "C": 7, "K": 12}, {"N": 17, "C": 784, "K": 33}), draw=draw_dense, hints=DENSE_HINTS, work=dense_work,
        baselines={"loop_over_pictures": loop_over_pictures}),
    "cross_entropy": Exercise(
        sample=sample_scores, oracle=cross_entropy, sizes=({"N": 4, "K": 5, "scale": 1}, {"N": 6, "K": 10, "scale": 200}),
        hidden=({"N": 33, "K": 3, "scale": 2}, {"N": 12, "K": 7, "scale": 1000}), draw=draw_loss, hints=LOSS_HINTS),
    "gradients": Exercise(
        sample=sample_network, oracle=gradients, sizes=({"N": 4, "C": 6, "H": 5, "K": 3}, {"N": 7, "C": 5, "H": 8, "K": 4}),
        hidden=({"N": 32, "C": 784, "H": 16, "K": 10}, {"N": 20, "C": 3, "H": 4, "K": 6}), uses=("dense", "cross_entropy"),
        draw=draw_gradients, hints=GRADIENT_HINTS),
    "step_cost": Prediction(
        truth=lambda verdicts: STEP,
        unit="×",
        explain=lambda guess, truth: "Three products would be three times the forward pass, but nobody needs the gradient of the pictures, "
                                     "and the first layer is 99 % of this network."),
    "train": Exercise(
        sample=sample_training, oracle=trained, sizes=({"N": 4000, "H": 32, "epochs": 5, "batch": 32, "reach": REACH},), accepts=learned,
        tries=3, uses=("dense", "cross_entropy", "gradients"), draw=draw_training, hints=TRAIN_HINTS, seconds=30,
        baselines={"training_picture_by_picture": training_picture_by_picture}),
}
