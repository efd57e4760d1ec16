"""The depth widget: its model against plain formulas, its drawing, what it refuses, what stays where no kernel runs, and in a browser."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import quiet_page, widget_page

from hpml import widgets
from hpml.widgets.depth import EPSILON, KINDS, Depth, _norm, _norm_back, say, signal, status

ASSETS = Path(widgets.__file__).parent


def test_the_gradient_of_the_normalisation_is_that_of_differences() -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    y, spread = _norm(x)
    assert np.allclose(y.mean(0), 0) and np.allclose(y.var(0), 1, atol=10 * EPSILON)
    found, step = _norm_back(dy, y, spread), 1e-6
    for at in np.ndindex(5, 3):
        moved = [float((dy * _norm(x + sign * step * (np.arange(15).reshape(5, 3) == at[0] * 3 + at[1]))[0]).sum()) for sign in (1, -1)]
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(found[at], abs=1e-4)


@pytest.mark.parametrize("gain", [0.8, 1.2])
def test_plain_layers_multiply_by_their_weights_in_every_layer(gain: float) -> None:
    """Without normalisation weights and gradients are linear in the gain: one factor a layer, forward and backward."""
    one, other = signal("plain", 20, 1.0), signal("plain", 20, gain)
    assert other.forward[-1] / one.forward[-1] == pytest.approx(gain**20)
    assert other.backward[0] / one.backward[0] == pytest.approx(gain**20)


def test_what_the_lab_tells_about_the_four_kinds() -> None:
    back = {kind: [signal(kind, 64, gain).backward[0] for gain in (0.8, 1.0, 1.2)] for kind in KINDS}
    assert back["plain"][0] < 1e-5 < 1e3 < back["plain"][2]                                     # vanishes, explodes
    assert min(back["plain-norm"]) > 1e4 and max(back["plain-norm"]) < 3 * min(back["plain-norm"])    # explodes, whatever the weights
    assert min(back["residual"]) > 100                                                          # never vanishes
    assert min(back["residual-norm"]) > 1 and max(back["residual-norm"]) < 100


def test_there_is_a_value_before_and_behind_every_block() -> None:
    for kind in KINDS:
        found = signal(kind, 12, 1.0)
        assert len(found.forward) == len(found.backward) == 7 and found.forward[0] == found.backward[-1] == 1


@pytest.mark.parametrize(("value", "words"), [(0.0, "0"), (0.5, "0.5"), (12.34, "12"), (512.3, "512"), (3e5, "3·10⁵"), (9.9e-7, "10⁻⁶"),
                                              (1e9, "10⁹"), (float("nan"), "0")])
def test_say(value: float, words: str) -> None:
    assert say(value) == words


def test_drawing() -> None:
    svg = widgets.depth_svg(16, 0.9)
    assert svg == widgets.depth_svg(16, 0.9) != widgets.depth_svg(16, 1.1)
    lines = [e for e in ET.fromstring(svg).iter() if e.get("class") == "line"]
    assert len(lines) == 3 * len(KINDS)                                 # two panels and the key
    assert "<style>" in svg and "<style>" not in widgets.depth_svg(16, 0.9, paper=False)
    heights = [float(y) for e in lines for y in re.findall(r",([\d.]+)", e.get("d", ""))]
    assert min(heights) >= 40 and max(heights) <= 360                   # what leaves the field is cut off at its edge
    extreme = widgets.depth_svg(64, 1.4, paper=False)
    assert "nan" not in extreme and "inf" not in extreme


@pytest.mark.parametrize(("arguments", "reason"), [((3, 1.0), "even"), ((0, 1.0), "even"), ((66, 1.0), "even"),
                                                   ((8, 0.1), "gain"), ((8, 9), "gain")])
def test_what_makes_no_picture_is_refused_with_the_reason(arguments: tuple[int, float], reason: str) -> None:
    for make in (widgets.depth, widgets.depth_svg):
        with pytest.raises(ValueError, match=reason):
            make(*arguments)


def test_sliders_move_the_drawing_and_stay_in_their_range() -> None:
    widget = widgets.depth(8, 1.0)
    before = widget.drawing
    widget.layers = 12
    assert widget.drawing == widgets.depth_svg(12, 1.0, paper=False) != before and widget.said == status(12, 1.0)
    widget.layers, widget.gain = 99, 7.0
    assert (widget.layers, widget.gain) == (64, 1.4)
    widget.layers, widget.gain = 13, 0.0
    assert (widget.layers, widget.gain) == (12, 0.6)


def test_static_picture_travels_along() -> None:
    widget = widgets.depth(8, 1.2)
    assert isinstance(widget, Depth)
    bundle = widget._repr_mimebundle_()
    assert bundle is not None and "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["image/svg+xml"] == widgets.depth_svg(8, 1.2) and bundle[0]["text/plain"] == status(8, 1.2)


# --------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with quiet_page(browser, widget_page("depth", widgets.depth(32, 1.0), "drawing said layers gain")) as opened:
        yield opened


@pytest.mark.browser
def test_keys_move_the_sliders_and_new_drawings_appear(page: Any) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    (layers, one), (same, gain) = page.evaluate("window.saved.map((state) => [state.layers, state.gain])")
    assert (layers, one, same) == (34, 1, 34) and gain == pytest.approx(0.95)
    assert page.locator("output").all_inner_texts() == ["34", "0.95"]
    assert page.locator(".said").inner_text() == status(32, 1.0)                # until Python has answered
    page.evaluate("window.model.set('said', 'new'); window.model.set('drawing', '<svg></svg>')")
    assert page.locator(".said").inner_text() == "new" and page.locator(".stage svg").count() == 1
    page.evaluate("window.leave(); window.model.set('said', 'later')")
    assert page.locator(".said").inner_text() == "new"
