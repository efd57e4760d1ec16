"""Lab 02: its solutions, oracles, hints and pictures, without the referee."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest
from lesson import Lesson, negative
from matplotlib.figure import Figure

from hpml.exercise import Case, Prediction

LESSON = Lesson("02-neuron")
LAB, TEXT, DECLARED, TRUSTED, CODE = LESSON.lab, LESSON.text, LESSON.declared, LESSON.trusted, LESSON.code
case, shown = LESSON.case, LESSON.shown
QUICK = [name for name in CODE if name != "train"]


@pytest.fixture(scope="module")
def answers() -> dict:
    return LESSON.answers()


@pytest.fixture(scope="module")
def trained() -> Case:
    return case("train", TRUSTED.trained)


# ------------------------------------------------------------------------------------------------------ right results


@pytest.mark.parametrize("name", QUICK)
def test_solutions_agree_with_the_oracles_on_every_size(answers, name):
    declared = DECLARED[name]
    for size in (*declared.sizes, *declared.hidden):
        LESSON.agree(name, case(name, answers[name], size), np.float32)


def by_differences(loss, values, change=1e-6):
    """The gradient of loss() with respect to `values`, one number at a time."""
    slopes = np.empty(values.shape)
    for at in np.ndindex(*values.shape):
        kept, found = values[at], []
        for moved in (kept + change, kept - change):
            values[at] = moved
            found.append(loss())
        values[at] = kept
        slopes[at] = (found[0] - found[1]) / (2 * change)
    return slopes


def plain_loss(z, y):
    """The formula as it stands, in float64."""
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y])


def test_the_oracle_of_cross_entropy_is_the_formula_and_its_derivative():
    z, y = TRUSTED.sample_scores(np.random.default_rng(0), {"N": 3, "K": 4, "scale": 2})
    z = z.astype(float)
    loss, dz = TRUSTED.cross_entropy(z, y)
    assert np.allclose(loss, plain_loss(z, y), atol=1e-6)
    assert np.allclose(dz, by_differences(lambda: plain_loss(z, y).mean(), z), atol=1e-6)


def test_the_oracle_of_gradients_is_the_derivative():
    x, y, *weights = TRUSTED.sample_network(np.random.default_rng(1), {"N": 5, "C": 3, "H": 4, "K": 3})
    exact = [w.astype(float) for w in weights]
    found = TRUSTED.gradients(x, y, *exact)
    for weight, gradient in zip(exact, found, strict=True):
        assert np.allclose(gradient, by_differences(lambda: plain_loss(TRUSTED.scores(x, exact), y).mean(), weight), atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- training


def test_what_is_asked_for_is_three_deviations_below_the_reference():
    for size in (DECLARED["train"].sizes[0], LAB.exercises["train"].shape):
        reached = []
        for seed in range(6):
            found = case("train", TRUSTED.trained, size, seed)
            reached.append(100 * TRUSTED.accuracy(found, found.got))
            assert TRUSTED.learned(found) is True
        assert np.mean(reached) - 3 * np.std(reached, ddof=1) > size["reach"] >= 50


def test_the_given_slow_version_trains_as_the_reference_does(answers):
    size = {"N": 96, "H": 8, "epochs": 2, "batch": 32}
    args = TRUSTED.sample_training(np.random.default_rng(2), size)
    for function in (TRUSTED.training_picture_by_picture, answers["train"]):
        kept = [a.copy() for a in args[:6]]
        for got, wanted in zip(function(*args), TRUSTED.trained(*args), strict=True):
            assert got.dtype == np.float32 and np.allclose(got, wanted, atol=1e-4)
        assert all(np.array_equal(a, b) for a, b in zip(kept, args[:6], strict=True))


def test_pictures_come_sorted_and_held_out_ones_are_others_moved(trained):
    x, y = trained.args[:2]
    assert (np.diff(y) >= 0).all() and x.min() >= -0.31 and x.max() <= 0.71
    held, labels = TRUSTED.held_out(trained)
    assert len(held) == len(labels) == 2000
    again = TRUSTED.held_out(case("train", None, seed=4))[0]
    assert not np.array_equal(held, again), "other training pictures, other perturbations"


def test_a_network_that_learned_nothing_is_told_how_much_it_knows(trained):
    idle = Case(trained.args, trained.args[2:6], trained.expected, trained.size)
    assert re.search(r"recognises \d+% of the pictures held back; 70% is asked for", TRUSTED.learned(idle))
    lost = Case(trained.args, tuple(w * np.float32(np.nan) for w in trained.got), trained.expected, trained.size)
    assert "not finite" in TRUSTED.learned(lost)


# -------------------------------------------------------------------------------------------------------- predictions


def test_predictions_know_their_truth():
    weights = TRUSTED.beginning(128, np.random.default_rng(0))
    assert DECLARED["parameters"].truth({}) == sum(w.size for w in weights)
    forward = 784 * 128 + 128 * 10
    assert DECLARED["step_cost"].truth({}) == pytest.approx((forward + 784 * 128 + 128 * 10 + 128 * 10) / forward)
    assert isinstance(DECLARED["batch_gain"], Prediction) and DECLARED["batch_gain"].truth({}) is None


def test_work_counts_each_weight_and_each_byte_once():
    size = {"N": 3, "C": 5, "K": 4}
    x, w, b = TRUSTED.sample_dense(np.random.default_rng(0), size)
    work = TRUSTED.dense_work(size)
    assert work.flops == 2 * 3 * w.size
    assert work.bytes == x.nbytes + w.nbytes + b.nbytes + TRUSTED.dense(x, w, b).nbytes


def test_the_notebook_shows_the_loop_that_is_measured():
    wanted = ast.dump(ast.parse(DECLARED["dense"].baseline_source("loop_over_pictures")).body[0])
    trees = [ast.parse(cell.source) for cell in TEXT.cells if cell.kind == "code" and "def loop_over_pictures(" in cell.source]
    assert [ast.dump(node) for tree in trees for node in tree.body] == [wanted]


# -------------------------------------------------------------------------------------------------- hints and pictures


def with_part(name, i, change):
    def wrong(*args):
        parts = list(DECLARED[name].oracle(*args))
        parts[i] = change(parts[i])
        return tuple(parts)
    return wrong


MISTAKES = {
    "neuron": {
        "before the nonlinearity": lambda x, w, b: x @ w + np.float32(b),
        "too late": lambda x, w, b: np.maximum(x @ w, 0) + np.float32(b),
        "a bias of zero": lambda x, w, b: np.maximum(x @ w, 0),
        "absolute value": lambda x, w, b: np.abs(x @ w + np.float32(b)),
        "how strongly": lambda x, w, b: (x @ w + b > 0).astype(np.float32),
        "C products": lambda x, w, b: x * w,
        "float64": lambda x, w, b: x.astype(float) @ w,
    },
    "dense": {
        "transposed": lambda *a: TRUSTED.dense(*a).T,
        "a row were a neuron": lambda x, w, b: np.maximum(x @ w.T + b, 0),
        "The first picture is right": lambda *a: np.repeat(TRUSTED.dense(*a)[:1], len(a[0]), 0),
    },
    "cross_entropy": {
        "larger than any float32": lambda z, y: (np.full(len(z), np.nan, np.float32), np.full(z.shape, np.nan, np.float32)),
        "rounded to 0": with_part("cross_entropy", 0, lambda loss: np.where(loss > 1, np.float32(np.inf), loss)),
        "number of pictures": with_part("cross_entropy", 1, lambda dz: dz * np.float32(6)),
        "are negative": with_part("cross_entropy", 0, lambda loss: -loss),
        "the wrong way": with_part("cross_entropy", 1, lambda dz: -dz),
        "probabilities alone": lambda z, y: (TRUSTED.cross_entropy(z, y)[0], (TRUSTED.softmax(z) / len(z)).astype(np.float32)),
    },
    "gradients": {
        "is transposed": with_part("gradients", 0, lambda dw: dw.T),
        "another order": lambda *a: [TRUSTED.gradients(*a)[i] for i in (2, 3, 0, 1)],
        "may pass through it": lambda *a: TRUSTED.gradients(*a, mask=False),
        "dw1 is too small": with_part("gradients", 0, lambda dw: dw / np.float32(7)),
        "dw1 is too large": with_part("gradients", 0, lambda dw: dw * np.float32(7)),
        "db2 is too small": with_part("gradients", 3, lambda db: db / np.float32(7)),
        "a row for each picture": with_part("gradients", 3, lambda db: np.tile(db, (7, 1))),
        "uphill": lambda *a: tuple(-g for g in TRUSTED.gradients(*a)),
    },
}


@pytest.mark.parametrize(("name", "idea"), [(name, idea) for name, found in MISTAKES.items() for idea in found])
def test_a_hint_names_the_mistake(name, idea):
    hint = shown(name, case(name, MISTAKES[name][idea]))
    assert hint is not None and idea in hint


def test_right_results_get_no_hint(answers, trained):
    assert [shown(name, case(name, answers[name])) for name in QUICK] == [None] * len(QUICK)
    assert shown("train", trained) is None


def test_hints_of_training(trained):
    def told(weights):
        return shown("train", Case(trained.args, tuple(weights), trained.expected, trained.size))
    x, y, *start = trained.args[:6]
    epochs, rate, batch, seed = trained.args[6:]
    assert "no update" in told(start)
    assert "ran away" in told([np.full_like(w, np.inf) for w in start])
    assert "one for each minibatch" in told(TRUSTED.trained(x, y, *start, epochs, rate, len(x), seed))
    uphill = [w - 3 * (t - w) for w, t in zip(start, trained.expected, strict=True)]
    assert "against the gradient" in told(uphill)


GARBAGE = [
    None, 3.0, np.float32(1), np.zeros(0, np.float32), np.zeros((1, 2), bool), np.array("words"), (None, None),
    np.full((4, 3), np.nan, np.float32), np.full(5, np.inf, np.float32), (np.zeros((1, 1), np.float32),),
    (np.zeros(3, np.float64), None), (None,) * 4, (np.full(6, np.nan, np.float32), np.zeros((6, 10), np.float32)),
]


@pytest.mark.parametrize("name", CODE)
@np.errstate(all="ignore")
def test_hints_and_pictures_survive_anything(name, trained):
    for garbage in GARBAGE:
        found = Case(trained.args, garbage, trained.expected, trained.size) if name == "train" else case(name, garbage)
        assert all(isinstance(h.when(found), bool) for h in DECLARED[name].hints)
        assert isinstance(DECLARED[name].draw(found), Figure)


@pytest.mark.parametrize("name", CODE)
def test_the_picture_differs_between_right_and_wrong(answers, name, trained):
    right = trained if name == "train" else case(name, answers[name])
    LESSON.drawn_apart(name, right, negative(right.got))
