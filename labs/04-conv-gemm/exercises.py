"""The trusted side of lab 04: inputs, oracles, baselines, pictures and hints.

Conventions, as in TensorFlow: pictures NHWC, kernels HWIO, stride 1, no padding, cross-correlation (the kernel is not flipped),
float32. The oracles are the framework's own operations, imported where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpml.exercise import Case, Exercise, Hint, Prediction, Size, Work

# ------------------------------------------------------------------------------------------------- inputs and oracles


def sample_patches(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x with small whole numbers, so that a picture of it can be read, and k."""
    x = rng.integers(0, 100, (size["N"], size["H"], size["W"], size["C"])).astype(np.float32)
    return x, size["k"]


def sample_conv(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (N, H, W, C) and w (k, k, C, K)."""
    x = rng.standard_normal((size["N"], size["H"], size["W"], size["C"]), dtype=np.float32)
    w = rng.standard_normal((size["k"], size["k"], size["C"], size["K"]), dtype=np.float32)
    return x, w


def sample_gradients(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x, w and dy (N, H-k+1, W-k+1, K), the gradient of the loss with respect to the output."""
    x, w = sample_conv(rng, size)
    dy = rng.standard_normal((size["N"], size["H"] - size["k"] + 1, size["W"] - size["k"] + 1, size["K"]), dtype=np.float32)
    return x, w, dy


def sample_tiled(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x, w and the budget of the patch matrix in bytes, enough for the patches of at least one row of the output."""
    x, w = sample_conv(rng, size)
    row = (size["W"] - size["k"] + 1) * size["k"] ** 2 * size["C"] * 4
    return x, w, max(size.get("budget_kb", 2048) * 1024, row)


def tf_patches(x: np.ndarray, k: int) -> np.ndarray:
    """TensorFlow's extract_patches, with the window's axes unfolded."""
    import tensorflow as tf

    flat = tf.image.extract_patches(x, [1, k, k, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID").numpy()
    return flat.reshape(*flat.shape[:3], k, k, x.shape[3])


def tf_conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """TensorFlow's conv2d."""
    import tensorflow as tf

    return tf.nn.conv2d(x, w, strides=1, padding="VALID").numpy()


def tf_tiled(x: np.ndarray, w: np.ndarray, budget: int) -> np.ndarray:
    """TensorFlow's conv2d: tiling changes the memory, never the result."""
    return tf_conv(x, w)


def tf_gradients(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """TensorFlow's automatic differentiation of conv2d."""
    import tensorflow as tf

    x, w = tf.constant(x), tf.constant(w)
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        y = tf.nn.conv2d(x, w, strides=1, padding="VALID")
    dx, dw = tape.gradient(y, [x, w], output_gradients=tf.constant(dy))
    return dx.numpy(), dw.numpy()


# ---------------------------------------------------------------------------------------------------------- baselines


def six_loops(x, w):
    """Six nested loops: n, h, w, i, j and c.

    Inside: one number of x times the K weights w[i, j, c, :], added to K outputs.
    """
    import numpy as np

    N, H, W, C = x.shape
    k, _, _, K = w.shape
    y = np.zeros((N, H - k + 1, W - k + 1, K), np.float32)
    for n in range(N):
        for r in range(H - k + 1):
            for s in range(W - k + 1):
                for i in range(k):
                    for j in range(k):
                        for c in range(C):
                            y[n, r, s] += x[n, r + i, s + j, c] * w[i, j, c]
    return y


def framework_conv(x, w):
    """TensorFlow's convolution operation, called directly.

    NumPy arrays in, NumPy array out, conversions included.
    """
    import tensorflow as tf

    return tf.raw_ops.Conv2D(input=x, filter=w, strides=[1, 1, 1, 1], padding="VALID").numpy()


# -------------------------------------------------------------------------------------------------------------- work


def conv_work(size: Size) -> Work:
    """A multiplication and an addition for each of k·k·C terms of each output; x and w read once, y written once."""
    n, h, w, c, kk, k = (size[a] for a in ("N", "H", "W", "C", "K", "k"))
    outputs = n * (h - k + 1) * (w - k + 1) * kk
    return Work(flops=2.0 * outputs * k * k * c, bytes=4.0 * (n * h * w * c + k * k * c * kk + outputs))


# ------------------------------------------------------------------------------------------ recognising wrong results


def windows(x: np.ndarray, k: int) -> np.ndarray:
    """The correct patches, with six axes."""
    return np.lib.stride_tricks.sliding_window_view(x, (1, k, k, 1))[..., 0, :, :, 0].transpose(0, 1, 2, 4, 5, 3)


def reference(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A plain convolution with which wrong results are recognised; not the oracle."""
    return np.einsum("nhwijc,ijcq->nhwq", windows(x, w.shape[0]), w, optimize=True)


def like(got: Any, wanted: Any, tolerance: float = 1e-4) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers."""
    if not isinstance(got, np.ndarray) or got.shape != wanted.shape or got.dtype.kind not in "fiu":
        return False
    return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max()), 1e-30)))


def shape_of(value: Any) -> tuple[int, ...] | None:
    return value.shape if isinstance(value, np.ndarray) else None


def one_short(case: Case) -> bool:
    """Rows and columns are one too few or one too many."""
    got, want = shape_of(case.got), case.expected.shape
    return got is not None and len(got) == len(want) and got != want and all(
        abs(a - b) == (1 if axis in (1, 2) else 0) for axis, (a, b) in enumerate(zip(got, want, strict=True)))


def patch(case: Case, r: int, s: int) -> bool:
    """The patch at output position (r, s) of the first picture is right."""
    if shape_of(case.got) != case.expected.shape:
        return False
    return like(np.array(case.got[0, r, s]), case.expected[0, r, s])


def would_be(make: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Case], bool]:
    """True where the result is what `make(x, w)` gives and the correct one is not."""
    return lambda case: like(case.got, make(*case.args[:2])) and not like(case.got, case.expected)


def misread(case: Case) -> bool:
    """The kernel was reshaped as if its output channel were the first axis."""
    x, w = case.args[:2]
    rows = windows(x, w.shape[0]).reshape(-1, w.size // w.shape[3])
    return like(case.got, (rows @ w.reshape(w.shape[3], -1).T).reshape(case.expected.shape))


def channels_first_rows(case: Case) -> bool:
    """Rows of the patch matrix are ordered c, i, j, the kernel's i, j, c."""
    x, w = case.args[:2]
    rows = windows(x, w.shape[0]).transpose(0, 1, 2, 5, 3, 4).reshape(-1, w.size // w.shape[3])
    return like(case.got, (rows @ w.reshape(-1, w.shape[3])).reshape(case.expected.shape))


def pair(case: Case) -> tuple[Any, Any]:
    """dx and dw as they came back, or None for each."""
    got = case.got if isinstance(case.got, tuple | list) and len(case.got) == 2 else (None, None)
    return got[0], got[1]


def dx_with(kernel: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], bool]:
    """dx is what a convolution of the padded dy with `kernel(w)` gives, and the correct one is not."""
    def when(case: Case) -> bool:
        _, w, dy = case.args
        p = w.shape[0] - 1
        taps = kernel(w)
        if taps.shape[2] != dy.shape[3]:
            return False
        guess = reference(np.pad(dy, ((0, 0), (p, p), (p, p), (0, 0))), taps)
        return like(pair(case)[0], guess) and not like(pair(case)[0], case.expected[0])
    return when


def dw_scaled(factor: Callable[[tuple[int, ...]], float]) -> Callable[[Case], bool]:
    """dw is too small by `factor(shape of dy)`."""
    def when(case: Case) -> bool:
        by = factor(case.args[2].shape)
        return by != 1 and like(pair(case)[1], case.expected[1] / by)
    return when


def one_picture(case: Case) -> bool:
    """dw of the first or of the last picture only."""
    x, w, dy = case.args
    each = windows(x, w.shape[0])
    return len(x) > 1 and any(like(pair(case)[1], np.einsum("hwijc,hwq->ijcq", each[n], dy[n])) for n in (0, -1))


def tail_missing(case: Case) -> bool:
    """The beginning of every picture is right and the last rows are not."""
    if shape_of(case.got) != case.expected.shape:
        return False
    good = np.isclose(case.got, case.expected, rtol=1e-3, atol=1e-3).all(axis=(0, 2, 3))
    return bool(good[0] and not good[-1])


def rounded(case: Case) -> bool:
    """Right to about three digits, as half precision is."""
    return like(case.got, case.expected, 5e-3) and not like(case.got, case.expected, 1e-5)


def double(case: Case) -> bool:
    values = case.got if isinstance(case.got, tuple | list) else [case.got]
    return any(isinstance(g, np.ndarray) and g.dtype == np.float64 for g in values)


def right(case: Case) -> bool:
    """The numbers are right: what is wrong is how they were made."""
    if isinstance(case.expected, tuple):
        return all(like(g, e, 1e-5) for g, e in zip(pair(case), case.expected, strict=True))
    return like(case.got, case.expected, 1e-5)


def over_budget(case: Case) -> bool:
    """The referee measured too much memory; it tells how much in place of a size."""
    return "peak_mb" in case.size


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    return Hint(lambda case: case.expected is not None and case.got is not None and not right(case) and when(case), text)


SIZE = hint(one_short, "Count the places where a window of k fits into a row of H: it starts at 0, and its last cell may not pass H - 1.")
DOUBLE = Hint(double, "A float64 came into the product somewhere. It doubles every byte that is moved and halves the numbers in a vector "
                      "register: say float32 wherever you create an array.")

PATCH_HINTS = (
    SIZE,
    hint(lambda c: shape_of(c.got) is not None and len(c.got.shape) != 6,
         "Keep six axes. Folding them into a matrix cannot be done without copying, and that is conv_gemm's task."),
    hint(lambda c: shape_of(c.got) == tuple(c.expected.shape[a] for a in (0, 1, 2, 5, 3, 4)) and c.expected.shape[5] != c.args[1],
         "Your window's axes come after the channels. In NHWC the channel is the last axis of a patch, too."),
    hint(lambda c: like(c.got, c.expected.swapaxes(3, 4)),
         "Your windows are mirrored on their diagonal. Which stride is one row down, and which is one pixel to the right?"),
    hint(lambda c: patch(c, 0, 0) and shape_of(c.got) == c.expected.shape and c.expected.shape[2] > c.args[1]
         and like(np.array(c.got[0, 0, 1]), c.expected[0, 0, c.args[1]]),
         "Your windows lie side by side. With stride 1 the next window begins one pixel further, so neighbours share k - 1 columns."),
    hint(lambda c: patch(c, 0, 0) and not like(c.got, c.expected),
         "The first window is right and a later one is not: look at the strides that move the window, not at those inside it."),
    hint(lambda c: shape_of(c.got) == c.expected.shape and not patch(c, 0, 0),
         "Already the first window is wrong: look at the strides inside the window, one for each of its three axes."),
    Hint(right, "The numbers are right, but they are a copy. A view needs only a new shape and new strides for the same bytes."),
)

CONV_HINTS = (
    DOUBLE,
    hint(lambda c: shape_of(c.got) == (*c.args[0].shape[:3], c.expected.shape[3]),
         "That is the size of a padded convolution. Here windows stay inside the picture ('valid')."),
    SIZE,
    hint(lambda c: like(c.got, c.expected.transpose(0, 3, 1, 2)),
         "Channels come first in your result. In NHWC they are last: the K numbers of one output pixel are neighbours in memory."),
    hint(would_be(lambda x, w: reference(x, w[::-1, ::-1])),
         "You flip the kernel. Mathematicians' convolution does; frameworks compute the cross-correlation and call it convolution."),
    hint(would_be(lambda x, w: reference(x, w.swapaxes(0, 1))),
         "Rows and columns of the kernel are exchanged. Both the patch and the kernel run over i first, then j."),
    hint(lambda c: like(c.got, c.expected / (c.args[1].shape[0] ** 2)) or like(c.got, c.expected / c.args[1][..., 0].size),
         "Your result is smaller by a constant factor: a convolution sums its products, it does not average them."),
    hint(misread,
         "Look at the layout of w: (k, k, C, K), with the output channel last. A column of the weight matrix is one output channel."),
    hint(channels_first_rows,
         "Each row of your matrix runs over c first, each column of the weights over i first. They have to list the same k·k·C products "
         "in the same order."),
    hint(would_be(lambda x, w: reference(x[..., :1], w[:, :, :1])),
         "Only the first input channel is in your sum. Every output sums over i, j and c."),
    hint(rounded, "Right to three digits and no further: somewhere the numbers pass through a half-precision type."),
)

GRADIENT_HINTS = (
    DOUBLE,
    hint(lambda c: shape_of(pair(c)[0]) == c.expected[1].shape != c.expected[0].shape,
         "The two gradients come in the other order: first with respect to x, then with respect to w."),
    hint(lambda c: shape_of(pair(c)[0]) is not None and pair(c)[0].ndim == 4 and pair(c)[0].shape[1] < c.expected[0].shape[1],
         "dx has to be as large as x. A pixel in the corner was read by one window only: pad dy until that comes out."),
    hint(dx_with(lambda w: w.transpose(0, 1, 3, 2)),
         "dx uses the kernel the way forward used it. Pixel (h, w) went up and left to the outputs that read it: "
         "reverse the kernel's i and j."),
    hint(dx_with(lambda w: w[::-1, ::-1]),
         "Going backward, output channels come in and input channels go out: exchange the last two axes of the kernel."),
    hint(dw_scaled(lambda s: s[0]),
         "dw is too small by the number of pictures. The gradient of a sum over the minibatch is a sum; the mean, if there is one, "
         "is already in dy."),
    hint(dw_scaled(lambda s: s[1] * s[2]), "dw is too small by the number of windows. Every window that used a weight adds its share."),
    hint(dw_scaled(lambda s: s[0] * s[1] * s[2]), "dw is an average over all windows. Every window that used a weight adds its share."),
    hint(one_picture, "dw holds the share of one picture only. The rows of the patch matrix are the windows of all pictures."),
    hint(lambda c: like(pair(c)[1], c.expected[1][::-1, ::-1]), "dw is flipped. Only dx needs the reversed kernel."),
    hint(lambda c: shape_of(pair(c)[1]) not in (None, c.expected[1].shape) and pair(c)[1].size == c.expected[1].size,
         "dw holds the right number of values in another shape. A gradient has the shape of what it belongs to: (k, k, C, K)."),
)

TILED_HINTS = (
    *CONV_HINTS[:-1],
    hint(tail_missing, "The first rows are right and the last are not. Does the height divide by your tile? The last tile may be smaller."),
    CONV_HINTS[-1],
    Hint(over_budget, "Too many numbers are in memory at once. The patches of one tile can go before those of the next are made. "
                      "What else does your function hold that is as large as the whole minibatch?"),
)

# ----------------------------------------------------------------------------------------------------------- pictures


def _image(axis: Any, values: np.ndarray, title: str, like: np.ndarray, cmap: str = "cividis", digits: bool = False) -> Any:
    """One small matrix as a picture, in the colours of the range of `like`; its numbers written in where they can be read."""
    low, top = float(like.min()), float(like.max())
    image = axis.imshow(values, cmap=cmap, vmin=low, vmax=max(top, low + 1e-30))
    axis.set_title(title, fontsize=10)
    axis.set_xticks([]), axis.set_yticks([])
    if digits and values.size <= 49:
        middle = (low + top) / 2
        for (r, s), value in np.ndenumerate(values):
            axis.text(s, r, f"{value:.3g}", ha="center", va="center", fontsize=9, color="black" if value > middle else "white")
    return image


def _words(axis: Any, title: str, text: str, beside: np.ndarray) -> None:
    """A few words in place of a picture of the shape of `beside`."""
    axis.set_title(title, fontsize=10)
    axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=10 if len(text) < 25 else 9, transform=axis.transAxes)
    axis.set_box_aspect(beside.shape[0] / beside.shape[1])
    axis.set_xticks([]), axis.set_yticks([])


def _missing(got: Any, expected: np.ndarray) -> str:
    """Why there is nothing to draw, or nothing where there is."""
    if not isinstance(got, np.ndarray):
        return "nothing came\nback yet"
    if got.shape != expected.shape:
        return f"shape\n{got.shape}\nexpected\n{expected.shape}".replace(", ", ",\u200a")
    return "" if got.dtype.kind in "fiu" else f"dtype {got.dtype}"


def draw_patches(case: Case) -> Figure:
    """What one window reads, and the patch that should come of it beside the patch that came back."""
    x, k = case.args
    expected, got = case.expected, case.got
    problem = _missing(got, expected)
    n, r, s = 0, expected.shape[1] // 2, expected.shape[2] // 2
    if not problem:
        bad = np.argwhere(~(np.asarray(got) == expected).all(axis=(3, 4, 5)))
        if len(bad):
            n, r, s = (int(v) for v in bad[0])
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    left, middle, end = figure.subplots(1, 3, width_ratios=[1.4, 1, 1])
    _image(left, x[n, :, :, 0], f"x[{n}, :, :, 0] and the window at ({r}, {s})", x, digits=True)
    left.add_patch(_frame(s, r, k))
    _image(middle, expected[n, r, s, :, :, 0], f"expected [{n}, {r}, {s}, :, :, 0]", x, digits=True)
    if problem:
        _words(end, "yours", problem, expected[n, r, s, :, :, 0])
        return figure
    mine = np.array(got[n, r, s, :, :, 0])
    _image(end, mine, "yours", x, digits=True)
    for i, j in np.argwhere(mine != expected[n, r, s, :, :, 0]):
        end.add_patch(_frame(j, i, 1))
    return figure


def _frame(column: int, row: int, side: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor="#d55e00", linewidth=2.5)


def _compare(axes: Any, name: str, got: Any, expected: np.ndarray, cut: Callable[[np.ndarray], np.ndarray]) -> None:
    """Expected, yours and their difference, in a row of three axes."""
    wanted, problem = cut(expected), _missing(got, expected)
    _image(axes[0], wanted, f"expected {name}", wanted)
    if problem:
        _words(axes[1], "yours", problem, wanted)
        _words(axes[2], "|difference|", "", wanted)
        return
    _image(axes[1], cut(got), "yours", wanted)
    wrong = np.abs(np.asarray(got, np.float64) - expected)
    image = _image(axes[2], cut(wrong), "|difference|", np.append(0, np.abs(expected)), "magma_r")
    axes[2].figure.colorbar(image, cax=axes[2].inset_axes([1.06, 0, 0.07, 1]))


def draw_conv(case: Case) -> Figure:
    """One channel of the input, of the expected output, of yours, and where they differ."""
    figure = Figure(figsize=(7, 2.1), layout="constrained")
    axes = figure.subplots(1, 4)
    _image(axes[0], case.args[0][0, :, :, 0], "x[0, :, :, 0]", case.args[0])
    _compare(axes[1:], "y[0, :, :, 0]", case.got, case.expected, lambda a: a[0, :, :, 0])
    return figure


def draw_gradients(case: Case) -> Figure:
    """dx of the first picture and dw of the first pair of channels, each beside yours."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots(2, 3)
    _compare(axes[0], "dx[0, :, :, 0]", pair(case)[0], case.expected[0], lambda a: a[0, :, :, 0])
    _compare(axes[1], "dw[:, :, 0, 0]", pair(case)[1], case.expected[1], lambda a: a[:, :, 0, 0])
    return figure


# ------------------------------------------------------------------------------------------------------- declarations

SMALL = ({"N": 1, "H": 6, "W": 6, "C": 1, "K": 1, "k": 3}, {"N": 2, "H": 7, "W": 5, "C": 3, "K": 4, "k": 2})
HIDDEN = ({"N": 3, "H": 9, "W": 12, "C": 5, "K": 7, "k": 5}, {"N": 1, "H": 8, "W": 8, "C": 6, "K": 2, "k": 1})
TILES = ({"N": 2, "H": 12, "W": 9, "C": 4, "K": 3, "k": 3, "budget_kb": 4},
         {"N": 1, "H": 23, "W": 16, "C": 3, "K": 5, "k": 2, "budget_kb": 5})
MORE_TILES = ({"N": 3, "H": 17, "W": 11, "C": 2, "K": 4, "k": 5, "budget_kb": 7},
              {"N": 2, "H": 9, "W": 9, "C": 1, "K": 1, "k": 1, "budget_kb": 64})


def peak_fraction(verdicts: Any) -> float | None:
    """Per cent of the GEMM peak of one thread that the reader's conv_gemm reached."""
    verdict = verdicts.get("conv_gemm")
    return 100 * verdict.roofline.fraction_of_peak if verdict is not None and verdict.roofline else None


EXERCISES: dict[str, Exercise | Prediction] = {
    "patch_expansion": Prediction(
        truth=lambda verdicts: 9.0,
        unit="×",
        explain=lambda guess, truth: "Away from the border every pixel lies in k·k = 9 windows, so it is written nine times."),
    "im2col": Exercise(
        sample=sample_patches, oracle=tf_patches, sizes=SMALL, hidden=HIDDEN, view=True, draw=draw_patches, hints=PATCH_HINTS),
    "peak_fraction": Prediction(
        truth=peak_fraction,
        unit="%",
        uses=("conv_gemm",),
        explain=lambda guess, truth: f"The other {100 - truth:.0f} % of the time is not arithmetic at full speed: the patch matrix is "
                                     "written and read, and a product with few columns does little work on each number that it fetches."),
    "conv_gemm": Exercise(
        sample=sample_conv, oracle=tf_conv, sizes=SMALL, hidden=HIDDEN, uses=("im2col",), draw=draw_conv, hints=CONV_HINTS, work=conv_work,
        baselines={"six_loops": six_loops, "framework_conv": framework_conv}),
    "conv_gradients": Exercise(
        sample=sample_gradients, oracle=tf_gradients, sizes=SMALL, hidden=HIDDEN, uses=("im2col", "conv_gemm"), draw=draw_gradients,
        hints=GRADIENT_HINTS),
    "conv_tiled": Exercise(
        sample=sample_tiled, oracle=tf_tiled, sizes=TILES, hidden=MORE_TILES, uses=("im2col", "conv_gemm"), draw=draw_conv,
        hints=TILED_HINTS, work=conv_work),
}
