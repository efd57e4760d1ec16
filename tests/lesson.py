"""A lab as its tests look at it: its entry in the manifest, its text and its trusted side, without the referee."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hpml import course, exercise, plots, source
from hpml.exercise import Case


class Lesson:
    """The parts of one lab: `lab`, `text`, `declared`, `trusted`; `code` names its exercises that are functions."""

    def __init__(self, name: str) -> None:
        self.lab = course.load().lab(name)
        self.text = source.read(self.lab)
        self.trusted = exercise.load_module(self.lab)
        self.declared: dict[str, Any] = self.trusted.EXERCISES
        self.code = [key for key, entry in self.lab.exercises.items() if entry.kind == "code"]

    def answers(self, names: Iterable[str] | None = None, given: Iterable[str] = ("preamble",)) -> dict[str, Any]:
        """What these given cells and then these solutions (default: all) define."""
        found: dict[str, Any] = {}
        for part in (*map(self.text.given.__getitem__, given), *map(self.text.answers.__getitem__, names or self.code)):
            exec(part, found)
        return found

    def case(self, name: str, got: Any, size: Any = None, seed: int = 3, expected: Any = None) -> Case:
        """An exercise on fresh inputs of a size (default: the largest public one): what a function makes of them, or a value."""
        declared = self.declared[name]
        size = size or declared.sizes[-1]
        args = declared.sample(np.random.default_rng(seed), size)
        return Case(args, got(*args) if callable(got) else got, declared.oracle(*args) if expected is None else expected, size)

    def shown(self, name: str, case: Case) -> str | None:
        """The hint that a student reads."""
        return next((hint.text for hint in self.declared[name].hints if hint.when(case)), None)

    def agree(self, name: str, case: Case, dtype: Any = None) -> None:
        """Every array is the oracle's, in type (this one, if there is to be only one), shape and, within the tolerance, value."""
        pairs = zip(case.got, case.expected, strict=True) if isinstance(case.expected, tuple) else [(case.got, case.expected)]
        for got, expected in pairs:
            assert got.dtype == expected.dtype == (dtype or expected.dtype) and got.shape == expected.shape
            assert abs(got - expected).max() <= self.declared[name].tolerance[str(expected.dtype)] * abs(expected).max()

    def drawn_apart(self, name: str, right: Case, other: Any) -> None:
        """The picture of a right result is always the same, and it is not that of another result."""
        draw = self.declared[name].draw
        wrong = Case(right.args, other, right.expected, right.size)
        assert plots.svg(draw(right)) == plots.svg(draw(right)) != plots.svg(draw(wrong))


def negative(result: Any) -> Any:
    """The same arrays, their signs turned."""
    return tuple(-part for part in result) if isinstance(result, tuple) else -result
