"""Lab 04: its solutions, oracles, hints and pictures, without the referee."""

from __future__ import annotations

import ast
import tracemalloc

import numpy as np
import pytest
from lesson import Lesson, negative
from matplotlib.figure import Figure

from hpml.exercise import Case, Prediction

LESSON = Lesson("04-conv-gemm")
LAB, TEXT, DECLARED, TRUSTED, CODE = LESSON.lab, LESSON.text, LESSON.declared, LESSON.trusted, LESSON.code
case, shown = LESSON.case, LESSON.shown
SHAPES = [(1, 3, 3, 1, 1, 3), (2, 8, 6, 3, 4, 3), (3, 5, 9, 2, 5, 1), (1, 7, 7, 4, 2, 5), (2, 6, 10, 16, 8, 2)]


@pytest.fixture(scope="module")
def answers() -> dict:
    return LESSON.answers()


def layer(N, H, W, C, K, k, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, H, W, C), dtype=np.float32), rng.standard_normal((k, k, C, K), dtype=np.float32)


def by_formula(x, w):
    """The seven-index sum in double precision, one output at a time."""
    (N, H, W, _), (k, _, _, K) = x.shape, w.shape
    y = np.zeros((N, H - k + 1, W - k + 1, K))
    for n, r, s, q in np.ndindex(*y.shape):
        y[n, r, s, q] = (x[n, r:r + k, s:s + k].astype(float) * w[..., q]).sum()
    return y


@pytest.mark.parametrize("shape", SHAPES)
def test_im2col_is_a_view_of_every_window(answers, shape):
    x, w = layer(*shape)
    k = len(w)
    for pictures in (x, np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1), x[:, ::-1]):
        patches = answers["im2col"](pictures, k)
        assert np.shares_memory(patches, pictures)
        for n, r, s in np.ndindex(*patches.shape[:3]):
            assert np.array_equal(patches[n, r, s], pictures[n, r:r + k, s:s + k])


@pytest.mark.parametrize("shape", SHAPES)
def test_conv_gemm_and_the_loops_follow_the_formula(answers, shape):
    x, w = layer(*shape)
    wanted = by_formula(x, w)
    for function in (answers["conv_gemm"], TRUSTED.six_loops, TRUSTED.reference, TRUSTED.tf_conv, TRUSTED.framework_conv):
        y = function(x, w)
        assert y.dtype == np.float32 and y.shape == wanted.shape
        assert np.allclose(y, wanted, atol=1e-5 * abs(wanted).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_the_formula(answers, shape):
    """The convolution is linear in x and in w, so <dx, x'> and <dw, w'> are known exactly for any x' and w'."""
    x, w = layer(*shape)
    other_x, other_w = layer(*shape, seed=2)
    dy = np.random.default_rng(5).standard_normal(by_formula(x, w).shape, dtype=np.float32)
    for function in (answers["conv_gradients"], TRUSTED.tf_gradients):
        dx, dw = function(x, w, dy)
        assert dx.shape == x.shape and dw.shape == w.shape and dx.dtype == dw.dtype == np.float32
        assert np.isclose((dx * other_x).sum(), (by_formula(other_x, w) * dy).sum(), rtol=1e-4, atol=1e-3)
        assert np.isclose((dw * other_w).sum(), (by_formula(x, other_w) * dy).sum(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_conv_tiled_gives_the_same_for_every_budget(answers, shape, rows):
    x, w = layer(*shape)
    wanted = by_formula(x, w)
    one_row = wanted.shape[2] * w[..., 0].size * 4
    y = answers["conv_tiled"](x, w, rows * one_row + 3)
    assert y.dtype == np.float32
    assert np.allclose(y, wanted, atol=1e-5 * abs(wanted).max())


def test_conv_tiled_keeps_its_budget(answers):
    x, w = layer(4, 40, 40, 8, 4, 3)
    budget = 200_000
    tracemalloc.start()
    try:
        y = answers["conv_tiled"](x, w, budget)
        _, tiled = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        answers["conv_gemm"](x, w)
        _, whole = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tiled < y.nbytes + 2 * budget < whole


@pytest.mark.parametrize("name", CODE)
def test_solutions_agree_with_the_framework_on_every_size(answers, name):
    declared = DECLARED[name]
    for size in (*declared.sizes, *declared.hidden):
        LESSON.agree(name, case(name, answers[name], size), np.float32)


def test_every_budget_is_enough_for_a_row_and_small_ones_need_tiles():
    for size in (*DECLARED["conv_tiled"].sizes, *DECLARED["conv_tiled"].hidden, LAB.exercises["conv_tiled"].shape):
        _, w, budget = DECLARED["conv_tiled"].sample(np.random.default_rng(0), {**size, "N": 1})
        row = (size["W"] - size["k"] + 1) * w[..., 0].size * 4
        assert row <= budget
    assert budget < row * (size["H"] - size["k"] + 1)


def test_the_whole_patch_matrix_breaks_the_budget_of_conv_tiled():
    entry = LAB.exercises["conv_tiled"]
    s = entry.shape
    windows = s["N"] * (s["H"] - s["k"] + 1) * (s["W"] - s["k"] + 1)
    assert windows * s["k"] ** 2 * s["C"] * 4 > 2e6 * entry.peak_mb > 4e6 * windows * s["K"] * 4 / 1e6


def test_the_notebook_shows_the_baselines_that_are_measured():
    for name in ("six_loops", "framework_conv"):
        wanted = ast.dump(ast.parse(DECLARED["conv_gemm"].baseline_source(name)).body[0])
        trees = [ast.parse(cell.source) for cell in TEXT.cells if cell.kind == "code" and f"def {name}(" in cell.source]
        found = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        assert len(found) == 1
        body = wanted.replace("Import(names=[alias(name='tensorflow', asname='tf')]), ", "")        # the notebook has imported it
        assert ast.dump(found[0]) == body or ast.dump(found[0]) == wanted


def test_work_counts_each_term_and_each_byte_once():
    size = {"N": 2, "H": 5, "W": 6, "C": 3, "K": 4, "k": 2}
    work = DECLARED["conv_gemm"].work(size)
    x, w = layer(2, 5, 6, 3, 4, 2)
    y = by_formula(x, w)
    assert work.flops == 2 * y.size * 2 * 2 * 3
    assert work.bytes == x.nbytes + w.nbytes + 4 * y.size


def test_predictions_know_their_truth():
    expansion, fraction = DECLARED["patch_expansion"], DECLARED["peak_fraction"]
    assert isinstance(expansion, Prediction) and isinstance(fraction, Prediction)
    large = np.empty((1, 1000, 1000, 1), np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(large, (3, 3), axis=(1, 2))
    assert patches.size / large.size == pytest.approx(expansion.truth({}), rel=0.01)
    assert fraction.truth({}) is None
    assert "40 %" in fraction.explain(80, 60)


MISTAKES = {
    "im2col": {
        "begins one pixel further": lambda x, k: np.stack([np.stack([x[:, 0:k, s * k % (x.shape[2] - k + 1):][:, :, :k] for s in
                                                           range(x.shape[2] - k + 1)], 1)] * (x.shape[1] - k + 1), 1),
        "Keep six axes": lambda x, k: TRUSTED.tf_patches(x, k).reshape(-1, k * k * x.shape[3]),
        "come after the channels": lambda x, k: TRUSTED.tf_patches(x, k).transpose(0, 1, 2, 5, 3, 4),
        "mirrored": lambda x, k: TRUSTED.tf_patches(x, k).swapaxes(3, 4),
        "a later one is not": lambda x, k: np.broadcast_to(TRUSTED.tf_patches(x, k)[:, :1, :1], TRUSTED.tf_patches(x, k).shape),
        "a copy": TRUSTED.tf_patches,
    },
    "conv_gemm": {
        "padded": lambda x, w: np.zeros((*x.shape[:3], w.shape[3]), np.float32),
        "where a window of k fits": lambda x, w: TRUSTED.tf_conv(x, w)[:, :-1, :-1],
        "Channels come first": lambda x, w: TRUSTED.tf_conv(x, w).transpose(0, 3, 1, 2),
        "flip": lambda x, w: TRUSTED.tf_conv(x, w[::-1, ::-1]),
        "exchanged": lambda x, w: TRUSTED.tf_conv(x, w.swapaxes(0, 1)),
        "does not average": lambda x, w: TRUSTED.tf_conv(x, w) / (w.shape[0] ** 2),
        "Only the first input channel": lambda x, w: TRUSTED.tf_conv(x[..., :1], w[:, :, :1]),
        "float64": lambda x, w: TRUSTED.tf_conv(x, w).astype(np.float64),
        "half-precision": lambda x, w: TRUSTED.tf_conv(x, w).astype(np.float16).astype(np.float32),
    },
    "conv_gradients": {
        "other order": lambda *a: TRUSTED.tf_gradients(*a)[::-1],
        "as large as x": lambda *a: (a[0][:, 1:, 1:], TRUSTED.tf_gradients(*a)[1]),
        "reverse the kernel": lambda x, w, dy: (TRUSTED.tf_gradients(x, w[::-1, ::-1], dy)[0], TRUSTED.tf_gradients(x, w, dy)[1]),
        "dw is flipped": lambda *a: (TRUSTED.tf_gradients(*a)[0], TRUSTED.tf_gradients(*a)[1][::-1, ::-1]),
        "number of windows": lambda *a: (TRUSTED.tf_gradients(*a)[0], TRUSTED.tf_gradients(*a)[1] / a[2][0, ..., 0].size),
        "an average over all": lambda *a: (TRUSTED.tf_gradients(*a)[0], TRUSTED.tf_gradients(*a)[1] / a[2][..., 0].size),
        "in another shape": lambda *a: (TRUSTED.tf_gradients(*a)[0], TRUSTED.tf_gradients(*a)[1].reshape(-1, a[1].shape[3])),
    },
}


@pytest.mark.parametrize(("name", "idea"), [(name, idea) for name, found in MISTAKES.items() for idea in found])
def test_a_hint_names_the_mistake(name, idea):
    hint = shown(name, case(name, MISTAKES[name][idea]))
    assert hint is not None and idea in hint


def test_exchanging_channels_needs_as_many_of_both():
    size = {"N": 2, "H": 6, "W": 6, "C": 3, "K": 3, "k": 2}
    found = case("conv_gradients", lambda x, w, dy: (TRUSTED.tf_gradients(x, w.transpose(0, 1, 3, 2), dy)[0],
                                                     TRUSTED.tf_gradients(x, w, dy)[1]), size)
    assert "exchange the last two axes" in shown("conv_gradients", found)


def test_too_much_memory_has_a_hint_of_its_own():
    found = case("conv_tiled", TRUSTED.tf_tiled)
    assert shown("conv_tiled", found) is None
    assert "at once" in shown("conv_tiled", Case(found.args, found.got, found.expected, {**found.size, "peak_mb": 239}))


GARBAGE = [
    None, 3.0, np.float32(1), np.zeros(0, np.float32), np.zeros((1, 2), bool), np.array("words"), (None, None),
    np.full((2, 6, 4, 4), np.nan, np.float32), np.full((2, 6, 4, 2, 2, 3), np.inf, np.float32),
    (np.zeros((1, 1), np.float32),), (np.zeros(3, np.float64), None),
]


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("garbage", GARBAGE, ids=str)
@np.errstate(all="ignore")
def test_hints_and_pictures_survive_anything(name, garbage):
    found = case(name, garbage)
    assert all(isinstance(h.when(found), bool) for h in DECLARED[name].hints)
    assert isinstance(DECLARED[name].draw(found), Figure)


@pytest.mark.parametrize("name", CODE)
def test_the_picture_differs_between_right_and_wrong(answers, name):
    right = case(name, answers[name])
    LESSON.drawn_apart(name, right, negative(right.got))


@pytest.mark.parametrize("scale", [None, 1, 1.5])
def test_the_panels_of_conv_gemm_are_of_one_size_and_stand_in_line(scale):
    figure = DECLARED["conv_gemm"].draw(case("conv_gemm", None if scale is None else lambda x, w: scale * TRUSTED.tf_conv(x, w),
                                             DECLARED["conv_gemm"].sizes[0]))
    figure.draw_without_rendering()
    boxes = [axis.get_position() for axis in figure.axes[:4]]
    assert len({(round(box.height, 3), round(box.y0, 3), round(box.width, 3)) for box in boxes}) == 1
    for axis in figure.axes[:4]:
        frame = axis.get_window_extent()
        assert all(frame.contains(*corner) for text in axis.texts for corner in text.get_window_extent().get_points())
