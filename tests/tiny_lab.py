"""A course of one small lab with every kind of cell, for tests that need a lab and not a lesson."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpml import build, course
from hpml.course import CourseError

ROOT = Path(__file__).resolve().parent.parent

MANIFEST = """\
title: A tiny course
parts:
  1: The only one
labs:
  - lab: 04-tiny
    title: How large is a square?
    part: 1
    status: ready
    minutes: 10
    exercises:
      side:
        kind: predict
        points: 1
        within: 0.1
      square:
        points: 3
      explain:
        kind: manual
        points: 2.5
        rubric: [says that an area grows with the square of its side]
  - lab: 05-later
    title: Not yet
    part: 1
    status: planned
    minutes: 10
"""

LAB = r'''# %% [markdown] slide="slide"
r"""
# How large is a square?

It is {{times}} times as large as you think, and its area is $a^2$, *not* $2a$.
"""
# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, predict

hpml.lab("04-tiny")

# %% [markdown] slide="notes"
r"""
Wait for guesses.
"""
# %% [markdown] only="slides" slide="subslide"
r"""
### Only in the deck

$$A = \sum_{i=1}^{a} a$$

| side | area |
|---|---:|
| 2 | 4 |

*Euclid, about 300 BC*

**An area grows with the square of its side.**
"""
# %% [markdown] slide="slide"
r"""
## A picture

![Two squares](figures/square.svg)
"""
# %% predict="side"
predict("side", 9)      # the secret prediction

# %% check="side"
check("side")

# %% exercise="square" slide="slide"
def square(a):
    """The area of a square with side a. One line."""
    ### BEGIN SOLUTION
    area_of_the_square = a * a
    return area_of_the_square
    ### END SOLUTION

# %% check="square"
# Shows the square, then the verdict.
check("square")

# %% uses="square"
square(3)

# %% [markdown] manual="explain"
r"""
It grows with the square of its side: twice the side, {{times}} times the area.
"""
'''

STUDENT, SOLVED, DECK = "notebooks/04-tiny/04-tiny.ipynb", "solutions/04-tiny/04-tiny.ipynb", "slides/04-tiny.html"
FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><rect width="20" height="20" fill="#0072b2"/></svg>\n'


def make(root: Path, lab: str = LAB, manifest: str = MANIFEST) -> Path:
    """Write the course into `root`."""
    folder = root / "labs" / "04-tiny"
    (folder / "figures").mkdir(parents=True)
    (root / "course.yml").write_text(manifest, encoding="utf-8")
    (folder / "lab.py").write_text(lab, encoding="utf-8")
    (folder / "figures" / "square.svg").write_text(FIGURE, encoding="utf-8")
    (folder / "measured.json").write_text(json.dumps({"times": "412"}), encoding="utf-8")
    (folder / "exercises.py").write_text("EXERCISES = {'square': the_oracle_of_squares}\n", encoding="utf-8")
    (root / "slides").mkdir()
    (root / "slides" / "theme").symlink_to(ROOT / "slides" / "theme")
    return root


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of a tiny course, which `hpml` takes for its own during a test."""
    monkeypatch.setattr(course, "ROOT", make(tmp_path / "tiny"))
    course.load.cache_clear()
    yield tmp_path / "tiny"
    course.load.cache_clear()


def edit(root: Path, old: str, new: str) -> None:
    """Replace a text of the lab, which has to be there."""
    path = root / "labs" / "04-tiny" / "lab.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def rendered() -> dict[str, str]:
    """Every file that the build makes, by its path."""
    return {name: content.decode() for name, content in build.render(course.load().ready()).items()}


def error(root: Path, old: str, new: str) -> str:
    """What the build says after an edit."""
    edit(root, old, new)
    with pytest.raises(CourseError) as caught:
        rendered()
    return str(caught.value)
