"""The decks that `hpml build` makes: which cells, formulas and figures inside, and nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_lab import DECK, ROOT, edit, error, rendered, tiny

from hpml.build import deck

__all__ = ["tiny"]


def test_the_deck_takes_slide_cells_only(tiny: Path) -> None:
    html = rendered()[DECK]
    assert html.count("<section><section>") == 3 and html.count("<section>") == 7
    assert "Only in the deck" in html and re.search(r'<aside class="notes">\s*<div class="prose">\s*<p>Wait for guesses', html)
    assert "raise" in html and "area_of_the_square" not in html and "BEGIN SOLUTION" not in html and "predict" not in html
    assert '<p class="source"><em>Euclid' in html and '<p class="takeaway"><strong>An area' in html
    assert '<span class="k">def</span>' in html


def test_formulas_are_mathml_and_figures_are_data(tiny: Path) -> None:
    html = rendered()[DECK]
    assert "$" not in html and html.count("<math ") == 3 and 'display="block"' in html
    assert 'src="data:image/svg+xml;base64,' in html


def test_the_deck_loads_only_its_theme(tiny: Path) -> None:
    html = rendered()[DECK]
    loaded = deck.LOADED.findall(html)
    assert {a for a in loaded if not a.startswith("data:")} == {
        "theme/reveal/reset.css", "theme/reveal/reveal.css", "theme/theme.css", "theme/reveal/reveal.js", "theme/reveal/notes.js",
        "theme/deck.js"}
    assert all((ROOT / "slides" / a).is_file() for a in loaded if a.startswith("theme/"))
    for word in ("mathjax", "require", "jquery"):
        assert word not in html.lower()
    assert not re.search(r"https?://(?!www\.w3\.org)", html)


@pytest.mark.parametrize(("old", "new", "says"), [
    ("$a^2$", r"$\frac{a$", "formula"),
    ("$a^2$", r"$\nosuchcommand a$", r"\nosuchcommand is unknown"),
    ("## A picture", "## A picture\n\n<img src='https://example.org/x.png'>", "there is no figure https://example.org/x.png"),
    ("## A picture", "## A picture\n\n<script src='https://example.org/x.js'></script>", "would load https://example.org/x.js"),
])
def test_what_a_deck_cannot_show_is_said(tiny: Path, old: str, new: str, says: str) -> None:
    message = error(tiny, old, new)
    assert says in message and message.startswith("labs/04-tiny/lab.py")


def test_a_deck_has_slides(tiny: Path) -> None:
    edit(tiny, 'slide="slide"', 'slide="skip"')
    assert "would be empty" in error(tiny, 'slide="subslide"', 'slide="skip"')
