"""The receptive field widget: its drawing, what it refuses, what stays where no kernel runs, and how it behaves in a browser."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browsing import asset, quiet_page

from hpml import widgets
from hpml.widgets.receptive_field import middle, sides, spans, status

LENET = [(5, 1), (2, 2), (5, 1), (2, 2)]


def reads(layers: list[tuple[int, int]], side: int, layer: int, at: int) -> set[int]:
    """By brute force: which pixels of a row reach number `at`, following every index through every layer."""
    wanted = {at}
    for k, s in reversed(layers[:layer]):
        wanted = {n * s + i for n in wanted for i in range(k)}
    assert max(wanted) < side
    return wanted


@pytest.mark.parametrize("layers", [LENET, [(3, 1), (3, 1)], [(3, 2), (2, 2), (3, 1)], [(7, 3)], [(1, 1)]])
def test_the_span_is_what_is_really_read(layers: list[tuple[int, int]]) -> None:
    for layer, count in enumerate(sides(layers, 28)):
        for at in (0, count - 1):
            found = reads(layers, 28, layer, at)
            assert spans(layers, layer, at)[0] == (min(found), max(found))


def test_sides_and_their_end() -> None:
    assert sides(LENET, 28) == [28, 24, 12, 8, 4]
    with pytest.raises(ValueError, match="layer 2 has a window of 7, but only 6×6 numbers"):
        sides([(3, 1), (7, 1)], 8)


def test_status_says_how_much_was_seen() -> None:
    assert status(LENET, 4, [2, 2]) == ("Layer 4, number (2, 2) has seen 16×16 pixels, from row 8 and column 8 on; its neighbour begins "
                                        "4 pixels further.")
    assert "has seen itself" in status(LENET, 0, [3, 4])


def frames(svg: str) -> list[dict[str, str]]:
    return [dict(e.attrib) for e in ET.fromstring(svg).iter() if "data-frame" in e.attrib]


def test_frames_lie_where_the_field_is() -> None:
    svg = widgets.receptive_field_svg(at=[2, 3, 4])
    first, cell = frames(svg)[0], 7.0
    left, top = (float(v) for v in re.search(r'data-places="([\d.]+),([\d.]+)', svg).groups())    # type: ignore[union-attr]
    assert (float(first["x"]) - left, float(first["y"]) - top) == pytest.approx((8 * cell, 6 * cell))
    assert float(first["width"]) == pytest.approx(6 * cell)
    assert [f.get("visibility") for f in frames(svg)] == [None, None, None, "hidden", "hidden"]


def test_drawing_on_paper_stands_alone() -> None:
    paper, page = widgets.receptive_field_svg(), widgets.receptive_field_svg(paper=False)
    assert "<style>" in paper and 'class="sheet"' in paper and "<style>" not in page
    assert widgets.receptive_field_svg() == paper


@pytest.mark.parametrize(("arguments", "reason"), [
    ({"layers": []}, "from 1 to 6"), ({"layers": [(3, 1)] * 7}, "from 1 to 6"), ({"layers": [(8, 1)]}, "windows are 1 to 7"),
    ({"layers": [(3, 0)]}, "strides 1 to 3"), ({"layers": 5}, "list of"), ({"layers": [(7, 3), (7, 3)]}, "make a window"),
    ({"picture": np.zeros((3, 4))}, "square"), ({"picture": np.full((9, 9), np.nan)}, "finite"), ({"side": 41}, "up to 40"),
])
def test_what_makes_no_picture_is_refused_with_the_reason(arguments: dict[str, Any], reason: str) -> None:
    if arguments.get("layers") == [(7, 3), (7, 3)]:
        arguments = arguments | {"side": 20}
    for make in (widgets.receptive_field, widgets.receptive_field_svg):
        with pytest.raises(ValueError, match=reason):
            make(**arguments)


def test_another_stack_is_drawn_or_refused_with_the_reason() -> None:
    widget = widgets.receptive_field()
    before = widget.drawing
    widget.wanted = [[3, 1], [3, 1]]
    assert widget.layers == [[3, 1], [3, 1]] and widget.at == middle([(3, 1), (3, 1)], 28) and widget.drawing != before
    widget.wanted = [[7, 3], [7, 3], [7, 3]]
    assert "layer 3 has a window of 7" in widget.problem and widget.layers == [[3, 1], [3, 1]]
    widget.wanted = [[5, 1]]
    assert widget.problem == "" and widget.layers == [[5, 1]]


def test_static_picture_travels_along() -> None:
    widget = widgets.receptive_field(picture=np.eye(28))
    widget.at = [1, 0, 0]
    bundle = widget._repr_mimebundle_()
    assert bundle is not None and "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["image/svg+xml"] == widgets.receptive_field_svg(picture=np.eye(28), at=[1, 0, 0])
    assert "has seen 5×5 pixels" in bundle[0]["text/plain"]


# ---------------------------------------------------------------------------------------------------------- the browser


def page_text() -> str:
    """A page with the widget, a model that lives in the page, and one other stack that it knows the drawing of."""
    kept = {"drawing": widgets.receptive_field_svg(paper=False), "layers": [list(layer) for layer in LENET], "at": middle(LENET, 28),
            "problem": "", "wanted": [list(layer) for layer in LENET]}
    three = [[3, 1], *kept["layers"][1:]]                           # type: ignore[index]
    other = {"layers": three, "at": middle(three, 28), "drawing": widgets.receptive_field_svg(three, paper=False)}
    script = asset("receptive_field.js").replace("export default { render };", "")
    return f"""<!DOCTYPE html><meta charset="utf-8"><style>{asset("receptive_field.css")}</style>
      <div id="here"></div><script>
      {script}
      const kept = {json.dumps(kept)}, other = {json.dumps(other)}, heard = {{}};
      window.model = {{
        get: (name) => kept[name],
        set: (name, value) => {{
          kept[name] = value;
          if (name === "wanted" && JSON.stringify(value) === JSON.stringify(other.layers)) {{
            Object.assign(kept, other);
            (heard["change:drawing"] ?? []).forEach((f) => f());
          }} else if (name === "wanted") {{ kept.problem = "too small"; (heard["change:problem"] ?? []).forEach((f) => f()); }}
          (heard["change:" + name] ?? []).forEach((f) => f());
        }},
        save_changes: () => {{}},
        on: (name, f) => (heard[name] ??= []).push(f),
        off: (name, f) => {{ heard[name] = (heard[name] ?? []).filter((g) => g !== f); }},
      }};
      window.leave = render({{ model: window.model, el: document.querySelector("#here") }});
      </script>"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with quiet_page(browser, page_text(), viewport={"width": 860, "height": 600}) as opened:
        yield opened
        if folder := os.environ.get("HPML_SHOTS"):
            opened.screenshot(path=f"{folder}/receptive_field.png")


def chosen(page: Any) -> list[int]:
    """Layer, row and column; the sentence agrees with them."""
    at: list[int] = page.evaluate("window.model.get('at')")
    layers = [tuple(layer) for layer in page.evaluate("window.model.get('layers')")]
    assert page.locator(".said").inner_text() == status(layers, at[0], at[1:])
    return at


@pytest.mark.browser
def test_keys_move_the_number_and_its_layer(page: Any) -> None:
    assert chosen(page) == [4, 2, 2]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "stage"
    for key, at in (("ArrowRight", [4, 2, 3]), ("ArrowRight", [4, 2, 3]), ("ArrowUp", [4, 1, 3]), ("-", [3, 3, 7]), ("+", [4, 2, 3])):
        page.keyboard.press(key)
        found = chosen(page)
        assert found[0] == at[0] and all(abs(a - b) <= 1 for a, b in zip(found, at, strict=True)), key


@pytest.mark.browser
def test_the_mouse_points_and_a_click_keeps(page: Any) -> None:
    box = page.locator('.map[data-layer="2"] .back').bounding_box()
    cell = box["width"] / 12
    page.mouse.move(box["x"] + 3.5 * cell, box["y"] + 5.5 * cell)
    assert chosen(page) == [2, 5, 3]
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(box["x"] + 8.5 * cell, box["y"] + 5.5 * cell)
    assert chosen(page) == [2, 5, 3]
    page.mouse.down()
    page.mouse.up()
    assert chosen(page) == [2, 5, 8]


@pytest.mark.browser
def test_boxes_ask_for_another_stack(page: Any) -> None:
    page.get_by_label("layer 1: window").select_option("3")
    assert page.evaluate("window.model.get('layers')[0][0]") == 3
    assert chosen(page)[0] == 4 and page.locator(".said").inner_text().count("14×14") == 1
    page.get_by_label("layer 1: window").select_option("7")             # this page's model knows no such drawing: refused
    assert "Not possible: too small." in page.locator(".said").inner_text()
    assert page.get_by_label("layer 1: window").input_value() == "3"
