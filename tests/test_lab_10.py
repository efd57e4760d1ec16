"""Lab 10: its solutions, oracles, budgets, hints and pictures, without the referee."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from hpml import course, exercise, plots, source, wrong
from hpml.distributed import simulate
from hpml.exercise import Case, PerRank, on_rank

LAB = course.load().lab("10-allreduce")
TEXT = source.read(LAB)
DECLARED = exercise.load(LAB)
TRUSTED = exercise.load_module(LAB)
CODE = [name for name, e in LAB.exercises.items() if e.kind == "code"]
RANKED = [name for name in CODE if DECLARED[name].world]
MEANS = [name for name in RANKED if name != "reduce_scatter"]


def names_for(*sources: str) -> dict:
    """A namespace with the reference solution, and these sources after it."""
    names: dict = {"__name__": "__ranks__"}
    for part in (TEXT.given["preamble"], TEXT.given["Group"], TEXT.given["clocked"], *(TEXT.answers[n] for n in CODE), *sources):
        exec(part, names)
    return names


REFERENCE = names_for()


def ran(name, size, function=None, seed=7) -> Case:
    """A simulated run of the reference, or of another function, as the referee would describe it."""
    declared = DECLARED[name]
    args = declared.sample(np.random.default_rng(seed), size)
    expected = declared.oracle(*args)
    ranks = range(size["ranks"])
    run = simulate(function or REFERENCE[name], [tuple(on_rank(a, r) for a in args) for r in ranks], declared.network(size))
    counters = {k: int(v) for k, v in run.counters().items()}
    return Case(args, run.results, [on_rank(expected, r) for r in ranks], {**size, **counters})


def shown(name, case):
    return next((h.text for h in DECLARED[name].hints if h.when(case)), None)


def is_right(case):
    pairs = zip(case.got, case.expected, strict=True)
    return all(g.dtype == e.dtype and g.shape == e.shape and np.allclose(g, e, atol=1e-5) for g, e in pairs)


def over(name, case):
    return {k for k, most in DECLARED[name].counters(case.size).items() if case.size[k] > most}


# ----------------------------------------------------------------------------------------------- solutions and budgets


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6, 8, 13])
@pytest.mark.parametrize("n", [1, 5, 1003])
def test_solutions_are_right_and_within_budget_for_any_number_of_ranks(name, ranks, n):
    for per_node in {1, 2, 3, 4, ranks} if name.startswith("two_level") else {0}:
        if per_node and ranks % per_node:
            continue
        found = ran(name, {"ranks": ranks, "n": n} | ({"per_node": per_node} if per_node else {}))
        assert is_right(found)
        assert over(name, found) == set()
        assert shown(name, found) is None


@pytest.mark.parametrize("name", RANKED)
def test_the_picture_has_the_messages_of_the_solution(name):
    """The schedule that is drawn costs what the reference costs: the same steps, messages, bytes and seconds."""
    schedules = {"gather_broadcast": TRUSTED.gather_rounds, "tree_allreduce": TRUSTED.tree_rounds, "reduce_scatter": TRUSTED.scatter_rounds,
                 "ring_allreduce": TRUSTED.ring_rounds, "two_level_allreduce": TRUSTED.two_level_rounds}
    for size in (*DECLARED[name].sizes, *DECLARED[name].hidden):
        drawn, _ = TRUSTED.play(DECLARED[name].network(size), schedules[name](size))
        counted = ran(name, size).size
        for key, value in drawn.counters().items():
            assert int(value) == counted[key], key


@pytest.mark.parametrize(("formula", "name"), [("gather_seconds", "gather_broadcast"), ("tree_seconds", "tree_allreduce"),
                                               ("ring_seconds", "ring_allreduce")])
def test_the_formulas_are_those_of_the_simulator(formula, name):
    for ranks, n in ((2, 1000), (8, 80), (8, 80_000), (16, 1600)):
        x = [(np.ones(n, np.float32),)] * ranks
        run = simulate(REFERENCE[name], x, TRUSTED.flat({"ranks": ranks}))
        assert run.network.seconds == pytest.approx(getattr(TRUSTED, formula)(ranks, 4 * n))


def test_tree_and_ring_meet_where_the_prediction_says():
    meet = DECLARED["crossover"].truth({}) * 1e3
    assert TRUSTED.tree_seconds(8, meet) == pytest.approx(TRUSTED.ring_seconds(8, meet))
    for n, first in ((0.8 * meet, "tree_allreduce"), (1.2 * meet, "ring_allreduce")):
        x = [(np.ones(int(n) // 4, np.float32),)] * 8
        times = {name: simulate(REFERENCE[name], x, TRUSTED.flat({"ranks": 8})).network.seconds
                 for name in ("tree_allreduce", "ring_allreduce")}
        assert min(times, key=times.get) == first


def test_a_ring_of_eight_sends_as_often_as_predicted():
    found = ran("ring_allreduce", {"ranks": 8, "n": 8000})
    assert found.size["bytes_per_rank"] / (8000 * 4) == DECLARED["ring_bytes"].truth({})


def test_two_levels_spare_the_slow_link():
    flat = ran("two_level_allreduce", {"ranks": 16, "per_node": 4, "n": 4096}, lambda comm, x, _: REFERENCE["ring_allreduce"](comm, x))
    both = ran("two_level_allreduce", {"ranks": 16, "per_node": 4, "n": 4096})
    assert is_right(flat)
    assert flat.size["slow_bytes"] > both.size["slow_bytes"] == 4096 * 4 * 2 * 3 / 4


def test_the_weighted_mean_is_the_gradient_of_the_big_batch():
    images, labels = TRUSTED.clothes()
    w = 0.01 * np.random.default_rng(5).standard_normal((784, 10))
    cuts = [0, 3, 20, 64]
    each = np.stack([TRUSTED.gradient(w, images[a:b], labels[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]).astype(np.float32)
    whole = TRUSTED.gradient(w, images[:64], labels[:64])
    for function in (REFERENCE["gradient_mean"], TRUSTED.big_batch):
        found = function(each, np.diff(cuts))
        assert found.dtype == np.float32
        assert np.allclose(found, whole, atol=1e-6 * abs(whole).max())
    assert not np.allclose(each.mean(axis=0), whole, atol=1e-2 * abs(whole).max())


def test_the_gradient_of_the_notebook_is_that_of_the_loss():
    cell = next(c.source for c in TEXT.cells if c.kind == "code" and "def gradient(w, x, y)" in c.source)
    names = {"np": np}
    exec(cell[cell.index("def gradient"):cell.index("w = np.zeros")], names)
    images, labels = TRUSTED.clothes()
    w = np.random.default_rng(6).standard_normal((784, 10)).astype(np.float32) / 100
    assert np.allclose(names["gradient"](w, images[:32], labels[:32]), TRUSTED.gradient(w, images[:32], labels[:32]), atol=1e-6)


# ---------------------------------------------------------------------------------------------------- the real processes


def test_the_clock_measures_messages_and_ways_on_two_ranks():
    """On simulated ranks, where only the number of rows and columns can be told."""
    names = names_for("SIZES = [400, 4000]\ndef silent(comm, x):\n    return ring_allreduce(Silent(comm), x)")
    run = simulate(names["clocked"], [([names["ring_allreduce"], names["silent"]],)] * 2, TRUSTED.flat({"ranks": 2}))
    for rows in run.results:
        assert np.shape(rows) == (2, 3)
        assert np.all(np.array(rows) > 0)


def test_silent_ranks_send_nothing_and_end():
    names = names_for("def silent(comm, x):\n    return ring_allreduce(Silent(comm), x)")
    run = simulate(names["silent"], [(np.ones(10, np.float32),)] * 4, TRUSTED.flat({"ranks": 4}))
    assert run.messages == []
    assert all(r.shape == (10,) for r in run.results)


def test_alpha_and_beta_are_found_again():
    sizes = np.array([4e3, 16e3, 64e3, 256e3, 1e6])
    link = TRUSTED.fitted(sizes, 2e-6 + 1e-10 * sizes)
    assert (link.alpha, link.beta) == (pytest.approx(2e-6), pytest.approx(1e-10))


def test_the_size_that_is_predicted_is_one_of_those_measured():
    assert TRUSTED.MEASURED_BYTES in REFERENCE["SIZES"]


def test_without_real_processes_the_factor_is_unknown(monkeypatch):
    def broken(*ways):
        raise RuntimeError("no mpiexec here")
    monkeypatch.setattr(TRUSTED, "_FACTOR", [])
    monkeypatch.setattr(TRUSTED, "real_rings", broken)
    assert TRUSTED.real_factor() is None
    assert TRUSTED._FACTOR == []


def test_the_factor_is_measured_over_formula(monkeypatch):
    sizes = np.array([16_000, 64_000, 256_000])
    messages = 1e-6 + 1e-10 * sizes
    rows = np.stack([messages, 3 * np.array([TRUSTED.ring_seconds(2, n, TRUSTED.Link(1e-6, 1e-10)) for n in sizes]), messages], axis=1)
    monkeypatch.setattr(TRUSTED, "_FACTOR", [])
    monkeypatch.setattr(TRUSTED, "real_rings", lambda *ways: (sizes, rows))
    assert TRUSTED.real_factor() == pytest.approx(3)


# ------------------------------------------------------------------------------------------------- hints and pictures


# those that deadlock, or are found out by what they do to their argument, are the referee's to see
WRONG = [w for w in wrong.read(LAB) if w.exercise in RANKED and w.shows not in ("wait to receive", "argument")]


@pytest.mark.parametrize("answer", WRONG, ids=lambda w: w.path.stem)
def test_a_wrong_answer_gets_its_hint(answer):
    declared = DECLARED[answer.exercise]
    function = names_for(answer.source)[answer.exercise]
    for size in (*declared.sizes, *declared.hidden):
        found = ran(answer.exercise, size, function)
        if not is_right(found) or over(answer.exercise, found):
            assert answer.shows in shown(answer.exercise, found)
            return
    pytest.fail("nothing is wrong with it")


def changed(name, change, seed=7):
    """The right results of the first size, changed rank by rank."""
    found = ran(name, DECLARED[name].sizes[0], seed=seed)
    return Case(found.args, change(found), found.expected, found.size)


MISTAKES = {
    ("gather_broadcast", "divided by the number of ranks twice"): lambda c: [g / len(c.got) for g in c.got],
    ("gather_broadcast", "are missing from a result"): lambda c: [sum(c.args[0].values[1:]) / len(c.got)] * len(c.got),
    ("tree_allreduce", "float64"): lambda c: [g.astype(float) for g in c.got],
    ("tree_allreduce", "on two ways"): lambda c: [(sum(c.args[0].values) + c.args[0].values[1]) / len(c.got)] * len(c.got),
    ("reduce_scatter", "comes at the very end"): lambda c: [g / len(c.got) for g in c.got],
    ("reduce_scatter", "return the whole array"): lambda c: [sum(c.args[0].values)] * len(c.got),
    ("ring_allreduce", "which chunk is finished".capitalize()): lambda c: [c.args[0].values[0] / len(c.got)] * len(c.got),
    ("two_level_allreduce", "who its peers"): lambda c: [(c.args[0].values[0] + c.args[0].values[1]) / len(c.got)] * len(c.got),
}


@pytest.mark.parametrize(("name", "idea"), MISTAKES, ids=str)
def test_a_hint_names_the_mistake(name, idea):
    hint = shown(name, changed(name, MISTAKES[name, idea]))
    assert hint is not None and idea in hint


GRADIENTS = {
    "the sum of the workers' gradients": lambda g, c: g.sum(axis=0),
    "image has the same say": lambda g, c: g.mean(axis=0),
    "do not divide by how many": lambda g, c: np.tensordot(c.astype(g.dtype), g, axes=1),
    "divide by the number of workers": lambda g, c: np.tensordot(c.astype(g.dtype), g, axes=1) / np.float32(len(c)),
    "you divide once more": lambda g, c: TRUSTED.big_batch(g, c) / np.float32(len(c)),
    "float64": lambda g, c: np.average(g, axis=0, weights=c),
}


@pytest.mark.parametrize("idea", GRADIENTS)
def test_a_hint_names_the_mistake_in_the_mean(idea):
    declared = DECLARED["gradient_mean"]
    args = declared.sample(np.random.default_rng(7), declared.sizes[1])
    hint = shown("gradient_mean", Case(args, GRADIENTS[idea](*args), declared.oracle(*args), declared.sizes[1]))
    assert hint is not None and idea in hint


GARBAGE = [
    None, [None] * 4, [], [1.0, 2.0, 3.0, 4.0], [np.float32(1)] * 4, [np.zeros(0, np.float32)] * 4, [np.zeros((2, 2), np.float32)] * 4,
    [np.full(22, np.nan, np.float32)] * 4, [np.full(6, np.inf, np.float32)] * 4, [np.array("words")] * 4, [np.zeros(22, bool)] * 4,
    [np.zeros(22, np.float32), None, np.zeros(5, np.int64), np.zeros(22, np.float64)], np.zeros(22, np.float32),
]


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("garbage", GARBAGE, ids=str)
@np.errstate(all="ignore")
def test_hints_and_pictures_survive_anything(name, garbage):
    found = ran(name, DECLARED[name].sizes[0])
    found = Case(found.args, garbage, found.expected, DECLARED[name].sizes[0])
    assert all(isinstance(h.when(found), bool) for h in DECLARED[name].hints)
    assert isinstance(DECLARED[name].draw(found), Figure)
    # as the oracle's result is before any rank has answered
    assert isinstance(DECLARED[name].draw(Case(found.args, None, PerRank(found.expected), found.size)), Figure)


@pytest.mark.parametrize("garbage", [None, 3.0, np.zeros(3, np.float32), np.full((784, 10), np.nan, np.float32), (None, None)], ids=str)
@np.errstate(all="ignore")
def test_hints_and_pictures_of_the_mean_survive_anything(garbage):
    declared = DECLARED["gradient_mean"]
    args = declared.sample(np.random.default_rng(7), declared.sizes[0])
    found = Case(args, garbage, declared.oracle(*args), declared.sizes[0])
    assert all(isinstance(h.when(found), bool) for h in declared.hints)
    assert isinstance(declared.draw(found), Figure)


@pytest.mark.parametrize("name", RANKED)
def test_the_picture_differs_between_right_and_wrong_and_nothing(name):
    right = ran(name, DECLARED[name].sizes[0])
    false = Case(right.args, [-g for g in right.got], right.expected, right.size)
    nothing = Case(right.args, None, right.expected, right.size)
    drawn = [plots.svg(DECLARED[name].draw(case)) for case in (right, false, nothing)]
    assert len(set(drawn)) == 3
    assert plots.svg(DECLARED[name].draw(right)) == drawn[0]


def test_whose_numbers_are_in_a_result_is_found_by_least_squares():
    vectors = [np.random.default_rng(k).standard_normal(20) for k in range(3)]
    assert TRUSTED.shares(vectors[0] + 2 * vectors[2], vectors) == pytest.approx([1, 0, 2], abs=1e-9)
    assert TRUSTED.shares(np.ones(20), vectors) is None
    assert TRUSTED.shares(vectors[0][:2], [v[:2] for v in vectors]) is None


# ---------------------------------------------------------------------------------------------------------------- text


def test_the_numbers_of_512_workers_follow_from_the_network():
    numbers = json.loads((LAB.folder / "measured.json").read_text(encoding="utf-8"))
    gather, ring = TRUSTED.gather_seconds(512, 100e6), TRUSTED.ring_seconds(512, 100e6)
    assert numbers["gather_512"] == f"{gather:.0f} s"
    assert numbers["ring_512"] == f"{ring * 1e3:.0f} ms"
    assert float(numbers["ratio_512"]) == pytest.approx(gather / ring, rel=0.05)
    assert float(numbers["ring_multiple"]) == pytest.approx(2 * 511 / 512, rel=1e-3)
    assert math.isclose(float(numbers["vgg_bound"]), 553e6 * 8 / 25e9 * 2 * 127 / 128 * 1e3, rel_tol=0.01)
