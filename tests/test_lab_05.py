"""Lab 05: its solutions, oracles, hints and pictures, without the referee."""

from __future__ import annotations

import functools
import os
import re

import numpy as np
import pytest
from lesson import Lesson
from matplotlib.figure import Figure

from hpml.exercise import Case

LESSON = Lesson("05-lenet")
LAB, TEXT, DECLARED, TRUSTED, CODE = LESSON.lab, LESSON.text, LESSON.declared, LESSON.trusted, LESSON.code
case, shown = LESSON.case, LESSON.shown
QUICK = ["pool", "receptive_field", "count"]


@pytest.fixture(scope="module")
def answers() -> dict:
    """The solutions that need no framework."""
    return LESSON.answers(QUICK, ["preamble", "layers"])


@pytest.fixture(scope="module")
def keras_answers() -> dict:
    """All solutions; Keras is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return LESSON.answers(given=TEXT.given)


def noise(seed=0):
    """A network that has learned nothing."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(s, dtype=np.float32) * np.float32(0.1) for s in TRUSTED.SHAPES)


@functools.cache
def learner():
    """A LeNet that knows something, made without a framework: random layers, and the last one fitted to what they give."""
    rng = np.random.default_rng(1)
    x, y = TRUSTED.clothes()[:2]
    pictures = TRUSTED.perturbed(x[:4000], rng)
    he = [rng.standard_normal(s, dtype=np.float32) * np.float32((2 / np.prod(s[:-1])) ** 0.5) if len(s) > 1 else np.zeros(s, np.float32)
          for s in TRUSTED.SHAPES]
    he[8], he[9] = np.eye(84, 84, dtype=np.float32), np.zeros(84, np.float32)        # the features before the last layer
    features = TRUSTED.scores(pictures, he)
    rows = np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1).astype(float)
    fitted = np.linalg.solve(rows.T @ rows + 1e-3 * np.eye(85), rows.T @ np.eye(10)[y[:4000]]).astype(np.float32)
    return (*he[:8], fitted[:84], fitted[84])


def trained_case(weights, seed=3, reach=30):
    """A case of `train` whose network has its classes numbered as in the case; no framework trains anything."""
    args = TRUSTED.sample_training(np.random.default_rng(seed), {"N": 100, "reach": reach})
    theirs = np.argsort(TRUSTED.renumbered(args[0]))
    *before, w5, b5 = weights
    return Case(args, (*before, w5[:, theirs], b5[theirs]), noise(), {"N": 100, "reach": reach})


# ------------------------------------------------------------------------------------------------------ right results


@pytest.mark.parametrize("name", QUICK)
def test_solutions_agree_with_the_oracles_on_every_size(answers, name):
    declared = DECLARED[name]
    for size in (*declared.sizes, *declared.hidden):
        for seed in range(5):
            found = case(name, answers[name], size, seed)
            pairs = zip(found.got, found.expected, strict=True) if isinstance(found.expected, tuple) else [(found.got, found.expected)]
            for got, expected in pairs:
                assert got.dtype == expected.dtype and np.array_equal(got, expected)


@pytest.mark.parametrize(("h", "w", "k", "s"), [(6, 6, 2, 2), (9, 8, 3, 2), (5, 7, 5, 1), (11, 7, 3, 3), (9, 9, 2, 3)])
def test_pool_and_its_baselines_take_the_largest_of_each_window(answers, h, w, k, s):
    x = np.random.default_rng(1).standard_normal((2, h, w, 3), dtype=np.float32) - 3
    for function in (answers["pool"], TRUSTED.pool, TRUSTED.window_by_window):
        y = function(x, k, s)
        assert y.shape == (2, (h - k) // s + 1, (w - k) // s + 1, 3) and y.dtype == np.float32
        for n, r, q, c in np.ndindex(*y.shape):
            assert y[n, r, q, c] == x[n, r * s:r * s + k, q * s:q * s + k, c].max()


def test_the_field_is_what_a_stack_really_reads():
    """By brute force: every index followed back through every layer."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        kernels, strides = rng.integers(1, 6, 4), rng.integers(1, 4, 4)
        sizes, steps = TRUSTED.receptive_field(kernels, strides)
        for layer in range(4):
            fields = []
            for at in (0, 1):
                wanted = {at}
                for k, s in zip(kernels[layer::-1], strides[layer::-1], strict=True):
                    wanted = {int(n * s + i) for n in wanted for i in range(k)}
                fields.append(wanted)
            assert max(fields[0]) - min(fields[0]) + 1 == sizes[layer] and min(fields[1]) - min(fields[0]) == steps[layer]


def test_stacks_that_are_sampled_are_deep_enough():
    for size in (*DECLARED["count"].sizes, *DECLARED["count"].hidden):
        for seed in range(30):
            parameters, macs = TRUSTED.count(*TRUSTED.sample_stack(np.random.default_rng(seed), size))
            learns = parameters > 0
            assert (macs[learns] > 0).all() and (macs[~learns] == 0).all() and learns.any()


def test_counts_are_those_of_the_literature():
    parameters, macs = TRUSTED.count(TRUSTED.LENET, 28, 1)
    assert (parameters.sum(), macs.sum()) == (61_706, 416_520)
    assert parameters.tolist() == [156, 0, 2416, 0, 48_120, 10_164, 850]


@pytest.mark.slow
def test_keras_counts_and_computes_as_the_oracles_do(keras_answers):
    keras, build = keras_answers["keras"], keras_answers["lenet"]
    model = build()
    by_hand = [n for n in TRUSTED.count(TRUSTED.LENET, 28, 1)[0] if n]
    assert [layer.count_params() for layer in model.layers if layer.count_params()] == by_hand
    found = case("lenet", build, {"N": 9})
    assert np.array_equal(found.got[0], found.expected[0])
    assert np.allclose(found.got[1], found.expected[1], atol=1e-4 * abs(found.expected[1]).max())
    x = np.random.default_rng(1).standard_normal((2, 9, 8, 3), dtype=np.float32)
    assert np.array_equal(TRUSTED.framework_pool(x, 3, 2), TRUSTED.pool(x, 3, 2))
    assert np.array_equal(keras.ops.convert_to_numpy(keras.ops.max_pool(x, 3, 2)), TRUSTED.pool(x, 3, 2))


@pytest.mark.slow
def test_what_is_asked_for_is_three_deviations_below_the_reference(keras_answers):
    for size in (DECLARED["train"].sizes[0], LAB.exercises["train"].shape):
        reached = []
        for seed in range(5):
            args = TRUSTED.sample_training(np.random.default_rng(seed), size)
            found = Case(args, keras_answers["train"](*args), noise(), size)
            reached.append(100 * TRUSTED.accuracy(found))
            assert TRUSTED.learned(found) is True
        assert np.mean(reached) - 3 * np.std(reached, ddof=1) > size["reach"] >= 50


def test_work_counts_each_byte_once():
    size = {"N": 3, "H": 9, "W": 8, "C": 5, "k": 3, "s": 2}
    x, k, s = TRUSTED.sample_pool(np.random.default_rng(0), size)
    y = TRUSTED.pool(x, k, s)
    assert TRUSTED.pool_work(size).bytes == x.nbytes + y.nbytes and TRUSTED.pool_work(size).flops == 8 * y.size


# ----------------------------------------------------------------------------------------------------------- training


def test_classes_are_renumbered_in_every_call_and_held_out_ones_with_them():
    first, other = trained_case(learner(), seed=3), trained_case(learner(), seed=4)
    assert TRUSTED.accuracy(first) > 0.4 and TRUSTED.accuracy(other) > 0.4
    remembered = Case(other.args, first.got, other.expected, other.size)
    assert TRUSTED.accuracy(remembered) < 0.4, "a network from an earlier call knows other numbers"
    assert re.search(r"recognises \d+% of the pictures held back; 30% is asked for", TRUSTED.learned(remembered))
    assert TRUSTED.learned(first) is True


def test_pictures_come_class_after_class():
    x, y, _ = TRUSTED.sample_training(np.random.default_rng(0), {"N": 300})
    assert x.dtype == np.float32 and x.shape == (300, 28, 28, 1) and x.min() >= 0 and x.max() <= 1
    assert np.count_nonzero(np.diff(y)) == 9


def test_weights_that_are_none_are_not_good_enough():
    lost = trained_case(tuple(w * np.float32(np.nan) for w in noise()))
    assert "not finite" in TRUSTED.learned(lost) and TRUSTED.accuracy(lost) == 0


# -------------------------------------------------------------------------------------------------------------- hints


def test_the_usual_mistakes_get_their_idea(answers):
    x, k, s = DECLARED["pool"].sample(np.random.default_rng(0), DECLARED["pool"].sizes[1])
    right = TRUSTED.pool(x, k, s)
    assert "Does the maximum begin at 0" in shown("pool", Case((x, k, s), np.maximum(right, 0), right, {}))
    assert "one corner" in shown("pool", Case((x, k, s), x[:, :-2:s, :-2:s].copy(), right, {}))
    assert shown("pool", Case((x, k, s), right, right, {})) is None
    for name, got, idea in (("receptive_field", lambda k, s: (1 + np.cumsum(k - 1), np.cumprod(s)), "The strides do not widen"),
                            ("receptive_field", lambda k, s: (np.cumprod(k), np.cumprod(s)), "do not multiply"),
                            ("count", lambda *a: TRUSTED.count(*a, bias=False), "has a bias to learn"),
                            ("count", lambda *a: TRUSTED.count(*a, before=True), "layer's input"),
                            ("count", lambda *a: TRUSTED.count(*a, border=1), "both sides")):
        assert idea in shown(name, case(name, got, DECLARED[name].sizes[-1]))


@pytest.mark.parametrize(("switches", "idea"), [
    ({"mean": True}, "average pooling"), ({"act": np.tanh}, "tanh"), ({"act": lambda x: x}, "No nonlinearity"),
])
def test_networks_of_another_kind_are_recognised(switches, idea):
    found = case("lenet", lambda x, *w: (TRUSTED.four_wide(TRUSTED.SHAPES), TRUSTED.scores(x, w, **switches).astype(np.float32)))
    assert idea in shown("lenet", found)


def test_a_network_of_other_layers_is_told_where():
    def shapes(*found):
        return case("lenet", (TRUSTED.four_wide(found), np.zeros((6, 10), np.float32)))
    s = TRUSTED.SHAPES
    assert "it has a border" in shown("lenet", shapes(*s[:4], (256, 120), *s[5:]))
    assert "belong into one row" in shown("lenet", shapes(*s[:4], (16, 120), *s[5:]))
    assert "ten arrays" in shown("lenet", shapes(*s[:6], (120, 10), (10,)))
    assert "another width" in shown("lenet", shapes((3, 3, 1, 6), *s[1:]))


GARBAGE = [
    None, 3.0, np.float32(1), np.zeros(0, np.float32), np.zeros((1, 2), bool), np.array("words"), (None, None), (None,) * 10,
    np.full((4, 3), np.nan, np.float32), (np.zeros((1, 1), np.float32),), (np.zeros(3), None), (np.full((3, 4), -1), np.zeros((2, 2))),
    (np.full(6, np.nan, np.float32), np.zeros((6, 10), np.float32)),
]


@pytest.mark.parametrize("name", CODE)
@np.errstate(all="ignore")
def test_hints_and_pictures_survive_anything(name):
    for garbage in GARBAGE:
        base = trained_case(noise()) if name == "train" else case(name, None)
        found = Case(base.args, garbage, base.expected, base.size)
        assert all(isinstance(h.when(found), bool) for h in DECLARED[name].hints)
        assert isinstance(DECLARED[name].draw(found), Figure)


@pytest.mark.parametrize("name", CODE)
def test_the_picture_differs_between_right_and_wrong(name):
    base = trained_case(learner()) if name == "train" else case(name, None)
    right = base if name == "train" else Case(base.args, base.expected, base.expected, base.size)
    other = noise(1) if name == "train" else (tuple(2 * g for g in right.got) if isinstance(right.got, tuple) else -right.got)
    LESSON.drawn_apart(name, right, other)


# -------------------------------------------------------------------------------------------------------- predictions


def test_predictions_know_their_truth():
    assert DECLARED["sees"].truth({}) == TRUSTED.receptive_field(np.array([5, 2, 5, 2]), np.array([1, 2, 1, 2]))[0][-1]
    assert DECLARED["conv_work"].truth({}) == pytest.approx(85.85, abs=0.01)
    assert 50 < DECLARED["moved"].truth({}) < 90


# ------------------------------------------------------------------------------------------------------------ the text


def test_student_code_runs_on_any_backend():
    assert not any(re.search(r"\btf\.|tensorflow", cell.source) for cell in TEXT.cells if cell.kind == "code")
