"""Lab 06: its solutions, oracles, hints and pictures, without the referee."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from hpml import course, exercise, source
from hpml.exercise import Case, Exercise
from hpml.widgets.layers import TABLE, count

LAB = course.load().lab("06-alexnet")
TEXT = source.read(LAB)
DECLARED = exercise.load(LAB)
TRUSTED = exercise.load_module(LAB)
CODE = [name for name, e in LAB.exercises.items() if e.kind == "code"]
RUNS = json.loads((LAB.folder / "runs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for part in (TEXT.given["preamble"], *(TEXT.answers[name] for name in CODE)):
        exec(part, names)
    return names


def code(name: str) -> Exercise:
    found = DECLARED[name]
    assert isinstance(found, Exercise)
    return found


def case(name: str, got: Any, size: Any, seed: int = 3) -> Case:
    args = code(name).sample(np.random.default_rng(seed), size)
    return Case(args, got(*args) if callable(got) else got, code(name).oracle(*args), size)


def test_the_published_numbers() -> None:
    table = TRUSTED.alexnet(1000)
    weights, work = TRUSTED.parameters(table, 227, 3), TRUSTED.macs(table, 227, 3)
    assert weights.sum() == 60_965_224 and work.sum() == 724_406_816
    assert TRUSTED.outputs(table, 227, 3)[:, 0].tolist() == [55, 27, 27, 13, 13, 13, 13, 6, 1, 1, 1]
    assert TRUSTED.parameters(np.column_stack([table[:, :4], table[:, 4] ** 0]), 227, 3).sum() == 62_378_344, "one tower"
    share = {name: DECLARED[name].truth({}) for name in ("dense_share", "work_share")}      # type: ignore[union-attr]
    assert 96 < share["dense_share"] < 97 and 8 < share["work_share"] < 9


def test_the_widget_shows_the_same_network() -> None:
    assert [row[1:] for row in TABLE] == [tuple(row) for row in TRUSTED.ALEXNET]
    table = TRUSTED.alexnet(1000)
    assert [c.parameters for c in count()] == TRUSTED.parameters(table, 227, 3).tolist()
    assert [c.macs for c in count()] == TRUSTED.macs(table, 227, 3).tolist()


@pytest.mark.parametrize("name", CODE)
def test_solutions_are_exactly_the_oracles(answers: dict[str, Any], name: str) -> None:
    for size in (*code(name).sizes, *code(name).hidden):
        found = case(name, answers[name], size)
        assert found.got.dtype == found.expected.dtype and found.got.shape == found.expected.shape
        assert np.allclose(found.got, found.expected, rtol=1e-12, atol=1e-12)


def test_random_networks_tell_every_column_apart() -> None:
    """Whoever ignores a column of the table gets another number, on the public sizes and on the hidden ones."""
    for size in (*TRUSTED.NETWORKS, *TRUSTED.MORE_NETWORKS):
        for seed in range(20):
            layers, side, channels = TRUSTED.sample_network(np.random.default_rng(seed), size)
            assert (TRUSTED.outputs(layers, side, channels) > 0).all()
            before = TRUSTED.incoming(layers, side, channels)
            assert (before[:, 2] % layers[:, 4] == 0).all(), "towers get whole channels"
            if not size.get("full"):
                assert {1, 2} <= set(layers[:, 2]) and layers[:, 3].any() and (layers[:, 4] == 2).any() and (layers[:, 1] == 0).any()


def test_the_tail_is_the_same_to_the_last_bit(answers: dict[str, Any]) -> None:
    for seed, shape in enumerate([(1, 3, 3, 1), (2, 9, 6, 4), (1, 27, 28, 5)]):
        y, b = TRUSTED.sample_tail(np.random.default_rng(seed), dict(zip("NHWC", shape, strict=True)))
        kept = y.copy()
        wanted = TRUSTED.conv_tail(y, b)
        assert np.array_equal(answers["conv_tail"](y, b), wanted) and np.array_equal(TRUSTED.three_steps(y, b), wanted)
        assert np.array_equal(y, kept)


def test_negative_windows_are_common_enough_to_show_a_wrong_order() -> None:
    y, b = TRUSTED.sample_tail(np.random.default_rng(0), {"N": 1, "H": 27, "W": 27, "C": 8})
    assert 0.1 < (TRUSTED.conv_tail(y, b) == 0).mean() < 0.9


def test_the_notebook_shows_the_baseline_that_is_measured() -> None:
    wanted = ast.dump(ast.parse(code("conv_tail").baseline_source("three_steps")).body[0])
    trees = [ast.parse(cell.source) for cell in TEXT.cells if cell.kind == "code" and "def three_steps(" in cell.source]
    assert len(trees) == 1 and ast.dump(trees[0].body[0]) == wanted


def test_the_ablation_by_hand(answers: dict[str, Any]) -> None:
    """Differences 1, 2, 3: their mean is 2, their deviation 1, and half the interval t over the root of 3."""
    runs = np.array([[80.0, 82.0, 84.0], [79.0, 80.0, 81.0]])
    first, second = answers["ablation"](runs, 4.303)
    assert np.allclose(first, [82, 2, 0, 0]) and np.allclose(second, [80, 1, 2, 4.303 / 3**0.5])


def test_the_runs_that_lie_beside_the_notebook_are_of_these_networks() -> None:
    """Parameters and work of every recorded network, counted again from the table in the notebook."""
    names: dict[str, Any] = {"np": np}
    table = next(n for n in ast.parse(TEXT.given["small"]).body if isinstance(n, ast.Assign))
    exec(ast.unparse(table), names)
    gone = {"without conv3, conv4": (4, 5), "without fc6, fc7": (7, 8), "without all four": (4, 5, 7, 8),
            "conv1 and fc8 alone": (2, 3, 4, 5, 6, 7, 8)}
    seeds = {len(network["accuracy"]) for network in RUNS["networks"]}
    assert len(seeds) == 1 and seeds.pop() >= 3, "as many seeds for all, and at least three"
    for network in RUNS["networks"]:
        rest = np.delete(names["small"], gone.get(network["name"], ()), axis=0)
        assert network["parameters"] == TRUSTED.parameters(rest, 28, 1).sum()
        assert network["macs"] == TRUSTED.macs(rest, 28, 1).sum()
        assert network["accuracy"] == [curve[-1] for curve in network["curves"]]
        assert all(len(curve) == RUNS["epochs"] and 10 < min(curve) < 100 for curve in network["curves"])


def test_keras_counts_what_the_table_says() -> None:
    """Towers as separate convolutions: a slim AlexNet, to keep the test small."""
    names: dict[str, Any] = {}
    exec(TEXT.given["network"], names)
    table = TRUSTED.alexnet(10)
    table[:, 0] //= np.where(table[:, 1] == 0, 64, 16)
    table[-1, 0] = 10
    for pool_first in (False, True):
        model = names["build"](table, (227, 227, 3), pool_first=pool_first)
        assert model.count_params() == TRUSTED.parameters(table, 227, 3).sum()
        assert model.output_shape == (None, 10)


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("got", [None, "right", "wrong", "shape", "float"])
def test_pictures_are_drawn_whatever_comes_back(answers: dict[str, Any], name: str, got: str | None) -> None:
    size = code(name).sizes[0]
    right = case(name, answers[name], size)
    values = {"right": right.got, "wrong": right.got + 1, "shape": right.got[:-1], "float": right.got.astype(np.float64) + 0.5}
    value = values.get(got or "")
    draw = code(name).draw
    assert draw is not None
    drawn = draw(Case(right.args, value, right.expected, size))
    assert isinstance(drawn, Figure)
    drawn.canvas.draw()
    for hint in code(name).hints:
        assert not (hint.when(Case(right.args, right.got, right.expected, size))), "no hint about a right answer"
        hint.when(Case(right.args, value, right.expected, size))


def test_hints_give_ideas_and_no_code() -> None:
    for name in CODE:
        for hint in code(name).hints:
            assert not re.search(r"np\.|\breturn\b|\w\(\w|\[:", hint.text), hint.text
