"""Lab 01: its solutions, oracles, hints and pictures, without the referee."""

from __future__ import annotations

import ast
import inspect
import math

import numpy as np
import pytest
from lesson import Lesson
from matplotlib.figure import Figure

from hpml.exercise import Case, Prediction

LESSON = Lesson("01-measuring")
LAB, TEXT, DECLARED, TRUSTED, CODE = LESSON.lab, LESSON.text, LESSON.declared, LESSON.trusted, LESSON.code
case, shown = LESSON.case, LESSON.shown


@pytest.fixture(scope="module")
def answers() -> dict:
    return LESSON.answers()


@pytest.mark.parametrize("name", CODE)
def test_solutions_agree_with_the_oracle_on_every_size(answers, name):
    declared = DECLARED[name]
    for size in (*declared.sizes, *declared.hidden):
        found = case(name, answers[name], size)
        if declared.accepts:
            assert declared.accepts(found)
            continue
        LESSON.agree(name, found)


# ------------------------------------------------------------------------------------------------------------- timing


@pytest.mark.parametrize("n", [6, 7, 15, 40])
def test_the_interval_holds_the_median_as_often_as_it_promises(answers, n):
    """By simulation, on times with a long tail; 4000 experiments tell 95 % from 93 %."""
    times = np.random.default_rng(n).lognormal(0, 1.5, (4000, n))
    found = np.array([answers["median_interval"](row) for row in times])
    held = ((found[:, 1] <= 1) & (found[:, 2] >= 1)).mean()
    k = TRUSTED.rank(n)
    promised = 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n
    assert promised >= 0.95 and held == pytest.approx(promised, abs=0.012)
    assert 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n > 0.05, "a narrower one would promise too much"


# --------------------------------------------------------------------------------------------------- work and traffic


def by_hand(kind, *shape):
    """Products and arrays of a kernel, by doing it."""
    if kind == "axpy":
        n, = shape
        return n, [np.empty(n, np.float32)] * 3
    if kind == "dense":
        b, d, k = shape
        return sum(1 for _ in np.ndindex(b, k, d)), [np.empty(s, np.float32) for s in ((b, d), (d, k), (b, k))]
    n, h, w, c, kk, k = shape
    x = np.empty((n, h, w, c), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
    return windows.size * kk, [x, np.empty((k, k, c, kk), np.float32), np.empty((*windows.shape[:3], kk), np.float32)]


CALLS = [("axpy", 17), ("dense", 3, 4, 5), ("dense", 1, 6, 2), ("conv", 2, 7, 9, 3, 4, 3), ("conv", 1, 5, 5, 2, 3, 1)]


@pytest.mark.parametrize("call", CALLS)
def test_work_is_what_one_counts_by_doing_it(answers, call):
    products, arrays = by_hand(*call)
    for function in (answers["work"], TRUSTED.counted):
        assert function(*call).tolist() == [2 * products, sum(a.nbytes for a in arrays)]


def test_the_roof_has_its_kink_at_the_ridge(answers):
    flops = np.array([1.0, 5.0, 50.0]) * 1e6
    speed, seconds = answers["attainable"](flops, np.full(3, 1e6), 100.0, 20.0)
    assert speed.tolist() == [20, 100, 100] and seconds.tolist() == pytest.approx([5e-5, 5e-5, 5e-4])


def test_the_work_of_distances_counts_each_term_and_each_byte_once():
    size = {"B": 5, "D": 7, "K": 3, "rows": 2}
    x, c, rows = DECLARED["distances"].sample(np.random.default_rng(0), size)
    work = DECLARED["distances"].work(size)
    assert work.flops == 3 * 5 * 7 * 3 and work.bytes == x.nbytes + c.nbytes + TRUSTED.three_passes(x, c, rows).nbytes


# -------------------------------------------------------------------------------------------------- the best and worst


@pytest.mark.parametrize("size", [{"rows": 4, "columns": 6, "tile": 2, "full": n} for n in (1, 4, 5, 6, 7, 24)])
def test_no_other_place_is_better_or_worse(answers, size):
    """Against many places by chance; and what the tiles say is what is left to do."""
    best, worst = answers["best_and_worst"](*size.values())
    assert best.sum() == worst.sum() == size["full"]
    rng = np.random.default_rng(1)
    low, high = (np.count_nonzero(TRUSTED.tiles_of(np.ascontiguousarray(m), 2)) for m in (best, worst))
    for _ in range(300):
        mask = rng.permutation(24).reshape(4, 6) < size["full"]
        assert low <= np.count_nonzero(TRUSTED.tiles_of(mask, 2)) <= high


def test_any_best_and_any_worst_case_is_accepted():
    found = case("best_and_worst", lambda *a: tuple(m[::-1, ::-1] for m in TRUSTED.extremes(*a)))
    assert TRUSTED.as_extreme(found) and not np.array_equal(found.got[0], found.expected[0])
    assert not TRUSTED.as_extreme(Case(found.args, found.got[::-1], found.expected, found.size))
    forged = tuple(np.ascontiguousarray(m) for m in found.expected)
    forged[0].view(np.uint8)[forged[0]] = 2                 # a True that counts twice
    assert TRUSTED.as_extreme(Case(found.args, forged, found.expected, found.size))
    forged[0][tuple(np.argwhere(forged[0])[0])] = False
    assert not TRUSTED.as_extreme(Case(found.args, forged, found.expected, found.size))


def test_the_referee_accepts_another_best_and_worst_case():
    from hpml.referee.client import Referee

    answer = TEXT.answers["best_and_worst"].replace("picture(best), picture(worst)", "picture(best[::-1]), picture(worst[::-1])")
    assert answer != TEXT.answers["best_and_worst"]
    with Referee(purpose="grade") as referee:
        (verdict,) = referee.judge(LAB.lab, {"best_and_worst": answer}, ["best_and_worst"])
    assert verdict.passed, verdict.message


def test_skipping_tiles_does_not_change_the_product(answers):
    names = dict(answers)
    exec(next(cell.source for cell in TEXT.cells if "def skipping(" in cell.source), names)
    rng = np.random.default_rng(2)
    for mask in (*TRUSTED.extremes(8, 12, 4, 30), np.zeros((8, 12), bool)):
        x = mask * rng.random((8, 12))
        w = rng.random((12, 3))
        assert np.allclose(names["skipping"](x, w, 4), x @ w)


# ---------------------------------------------------------------------------------------------------------- predictions


def test_predictions_know_their_truth(monkeypatch):
    monkeypatch.setattr(TRUSTED, "kernels", lambda: {"axpy_share": 61.0})
    found = {name: d for name, d in DECLARED.items() if isinstance(d, Prediction)}
    assert len(found) == 4
    assert found["axpy_share"].truth({}) == 61
    assert found["dense_share"].truth({}) is None, "what could not be measured is not made up"
    assert all(d.explain(1, 2) for d in found.values())


def test_the_program_behind_the_predictions_runs():
    """With small arrays: what it measures is the referee's business, what it returns is tested here."""
    small = TRUSTED.PROGRAM.replace("10_000_000", "1000").replace("4096, 4096", "64, 64").replace("rng.random(4096", "rng.random(64")
    small = small.replace("1536, 1536", "32, 32").replace("0.008", "0.0001")
    found = TRUSTED.run(small)
    assert set(found) == {name for name, e in LAB.exercises.items() if e.kind == "predict"}
    assert all(0 < value < math.inf for value in found.values())
    assert TRUSTED.run("raise SystemExit(1)") == {}


def test_the_notebook_shows_what_is_measured():
    """The three kernels and the baseline, word for word, but for the baseline's own import."""
    for name in ("axpy", "matvec", "dense", "three_passes"):
        wanted = ast.parse(inspect.getsource(getattr(TRUSTED, name))).body[0]
        wanted.body = [node for node in wanted.body if not isinstance(node, ast.Import)]
        trees = [ast.parse(cell.source) for cell in TEXT.cells if cell.kind == "code" and f"def {name}(" in cell.source]
        (found,) = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        assert ast.dump(found) == ast.dump(wanted)


# -------------------------------------------------------------------------------------------------- hints and pictures

MISTAKES = {
    "median_interval": {
        "is the mean": lambda t: np.array([t.mean(), *TRUSTED.median_and_ends(t)[1:]]),
        "the smallest time": lambda t: np.array([t.min(), *TRUSTED.median_and_ends(t)[1:]]),
        "bell curve": lambda t: np.array([np.median(t), t.mean() - t.std(), t.mean() + t.std()]),
        "one rank too wide": lambda t: np.array([np.median(t), *np.sort(t)[[TRUSTED.rank(len(t)) - 2, 1 - TRUSTED.rank(len(t))]]]),
        "Look at the ranks": lambda t: np.array([np.median(t), t.min(), t.max()]),
        "both sides": lambda t: np.array([np.median(t), *np.sort(t)[[TRUSTED.rank(len(t), 0.1) - 1, -TRUSTED.rank(len(t), 0.1)]]]),
    },
    "work": {
        "FLOPs come first": lambda *a: TRUSTED.counted(*a)[::-1],
        "numbers, not bytes": lambda *a: TRUSTED.counted(*a) / [1, 4],
        "One factor is missing": lambda kind, *s: TRUSTED.counted(kind, *s) / [s[-2], 1],
        "its two factors come from": lambda *a: TRUSTED.counted(*a) - [0, 4 * TRUSTED.arrays(*a)[1][1]],
        "written over": lambda *a: TRUSTED.counted(*a) - [0, 4 * TRUSTED.arrays(*a)[2]],
    },
    "attainable": {
        "Only one of the two": lambda f, b, p, w: (f / b * w, b / (w * 1e9)),
        "that of the memory alone": lambda f, b, p, w: (TRUSTED.under_the_roof(f, b, p, w)[0], b / (w * 1e9)),
        "Speed first": lambda *a: TRUSTED.under_the_roof(*a)[::-1],
        "at the same time": lambda f, b, p, w: (f / (f / p + b / w), f / p + b / w),
    },
    "distances": {
        "No square root": lambda *a: np.sqrt(TRUSTED.all_distances(*a)),
        "not a mean": lambda x, c, r: TRUSTED.all_distances(x, c, r) / np.float32(x.shape[1]),
        "float64": lambda *a: TRUSTED.all_distances(*a).astype(float),
    },
    "best_and_worst": {
        "only the type": lambda *a: tuple(m.astype(np.float32) for m in TRUSTED.extremes(*a)),
        "exchanged": lambda *a: TRUSTED.extremes(*a)[::-1],
    },
}


@pytest.mark.parametrize(("name", "idea"), [(name, idea) for name, found in MISTAKES.items() for idea in found])
def test_a_hint_names_the_mistake(name, idea):
    hint = shown(name, case(name, MISTAKES[name][idea]))
    assert hint is not None and idea in hint


@pytest.mark.parametrize("name", CODE)
def test_the_right_answer_on_the_way_gets_no_wrong_hint(name):
    """An answer that is right but for one number is not told that it is another mistake, unless it may be."""
    found = case(name, DECLARED[name].oracle)
    if name in ("work", "attainable"):
        assert shown(name, found) is None


GARBAGE = [
    None, 3.0, np.float32(1), np.zeros(0, np.float32), np.zeros((1, 2), bool), np.array("words"), (None, None), np.zeros(2), np.zeros(3),
    np.full(3, np.nan), np.full(2, np.inf), (np.zeros((1, 1), np.float32),), (np.zeros(3, np.float64), None), np.zeros((6, 3), np.float32),
    (np.zeros((12, 9)), np.ones((12, 9))), np.array([1, 2]), (np.full(7, np.nan), np.full(7, -1.0)),
]


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("garbage", GARBAGE, ids=str)
@np.errstate(all="ignore")
def test_hints_and_pictures_survive_anything(name, garbage):
    found = case(name, garbage)
    assert all(isinstance(h.when(found), bool) for h in DECLARED[name].hints)
    assert isinstance(DECLARED[name].draw(found), Figure)


@pytest.mark.parametrize("name", CODE)
def test_the_picture_shows_the_answer(answers, name):
    LESSON.drawn_apart(name, case(name, answers[name]), None)
