"""The im2col widget: its drawing, what it refuses, what stays where no kernel runs, and how it behaves in a browser."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import traitlets
from browsing import quiet_page, widget_page

from hpml import widgets
from hpml.widgets.im2col import reads, status


def groups(svg: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter() if e.tag.endswith("}g")]


# --------------------------------------------------------------------------------------------------------- the drawing


@pytest.mark.parametrize(("h", "w", "k", "c"), [(6, 6, 3, 1), (4, 7, 2, 3), (3, 3, 3, 1), (5, 4, 1, 2)])
def test_matrix_rows_are_the_patches(h: int, w: int, k: int, c: int) -> None:
    """Against NumPy's own sliding windows, in the order i, j, channel."""
    picture = np.arange(h * w * c).reshape(h, w, c)
    wanted = np.lib.stride_tricks.sliding_window_view(picture, (k, k), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    rows = [g for g in groups(widgets.im2col_svg(kernel=k, values=picture)) if "row" in g.get("class", "")]
    shown = [[int("".join(cell.itertext())) for cell in row if cell.get("data-q")] for row in rows]
    assert shown == wanted.reshape(-1, k * k * c).tolist()


def test_a_row_lights_up_what_its_window_reads() -> None:
    found = groups(widgets.im2col_svg(row=6))                          # (1, 2) of 4×4 positions
    lit = {g.get("data-p") for g in found if g.get("data-p") and "on" in g.get("class", "").split()}
    assert lit == {f"{y},{x},0" for y in (1, 2, 3) for x in (2, 3, 4)}
    assert [g.get("data-r") for g in found if g.get("class") == "row on"] == ["6"]


@pytest.mark.parametrize(("h", "w", "k"), [(6, 6, 3), (5, 7, 2), (4, 4, 4), (5, 5, 1)])
def test_count_of_reads_is_the_count_of_places_in_the_matrix(h: int, w: int, k: int) -> None:
    places = Counter(g.get("data-q") for g in groups(widgets.im2col_svg(h, w, k)) if g.get("data-q"))
    assert places == {f"{y},{x},0": reads(y, x, h, w, k) for y in range(h) for x in range(w)}


def test_a_marked_pixel_is_marked_everywhere() -> None:
    marked = [g for g in groups(widgets.im2col_svg(pixel=(2, 2, 0))) if "hit" in g.get("class", "").split()]
    assert len(marked) == 1 + 9


def test_status_counts() -> None:
    assert status(6, (0, 0, 0), 6, 6, 3, 1) == "Window at (1, 2) → row 6. Pixel (0, 0) is read 1 time. Matrix / picture = 144 / 36 = 4.00"


def test_drawing_on_paper_stands_alone() -> None:
    paper, page = widgets.im2col_svg(), widgets.im2col_svg(paper=False)
    assert "<style>" in paper and 'class="sheet"' in paper and "<style>" not in page
    assert widgets.im2col_svg() == paper


def test_values_may_be_an_image() -> None:
    svg = widgets.im2col_svg(values=np.array([[0.5, 0.25], [1, 0]], np.float32), kernel=1)
    assert [text for text in ("0.5", "0.25", "1", "0") if f">{text}</text>" not in svg] == []


@pytest.mark.parametrize(("arguments", "reason"), [
    ({"kernel": 7}, "does not fit"), ({"kernel": 0}, "whole number"), ({"height": 2.5}, "whole number"), ({"channels": -1}, "whole number"),
    ({"height": 200, "width": 200}, "can be drawn"), ({"values": np.zeros(3)}, "picture"), ({"values": [["a"]]}, "picture"),
    ({"values": [[np.nan]], "kernel": 1}, "finite"), ({"values": np.zeros((0, 4))}, "whole number"),
])
def test_what_makes_no_picture_is_refused_with_the_reason(arguments: dict[str, Any], reason: str) -> None:
    for make in (widgets.im2col, widgets.im2col_svg):
        with pytest.raises(ValueError, match=reason):
            make(**arguments)


def test_rows_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="0 to 15"):
        widgets.im2col_svg(row=16)


# ---------------------------------------------------------------------------------------------------------- the widget


def test_state_is_checked() -> None:
    widget = widgets.im2col()
    widget.row, widget.pixel = 15, [5, 5, 0]
    with pytest.raises(traitlets.TraitError, match="0 to 15"):
        widget.row = 16
    with pytest.raises(traitlets.TraitError, match="inside"):
        widget.pixel = [6, 0, 0]
    assert (widget.row, widget.pixel) == (15, [5, 5, 0])


def test_static_picture_travels_along() -> None:
    widget = widgets.im2col()
    widget.row = 3
    bundle = widget._repr_mimebundle_()
    assert bundle is not None and "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["image/svg+xml"] == widgets.im2col_svg(row=3)
    assert "→ row 3" in bundle[0]["text/plain"]


# --------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    with quiet_page(browser, widget_page("im2col", widgets.im2col(), "drawing shape row pixel"),
                    reduced_motion=getattr(request, "param", "no-preference")) as opened:
        yield opened


def said(page: Any) -> str:
    return str(page.locator(".said").inner_text())


@pytest.mark.browser
def test_hovering_moves_the_window(page: Any) -> None:
    assert "row 0" in said(page)
    page.locator('[data-p="3,3,0"]').hover()
    assert "Window at (2, 2) → row 10." in said(page)
    assert page.locator("[data-p].on").count() == 9 and page.locator(".row.on").get_attribute("data-r") == "10"
    page.locator('.row[data-r="4"] [data-q]').first.hover()
    assert "Window at (1, 0) → row 4." in said(page)
    assert page.evaluate("[window.model.get('row'), window.saved.length >= 2]") == [4, True]


@pytest.mark.browser
def test_a_click_counts_how_often_a_pixel_is_read(page: Any) -> None:
    page.locator('[data-p="2,2,0"]').click()
    assert "Pixel (2, 2) is read 9 times." in said(page) and page.locator(".hit").count() == 10
    page.locator('[data-p="0,0,0"]').click()
    assert "Pixel (0, 0) is read 1 time." in said(page) and page.locator(".hit").count() == 2
    page.locator('[data-p="0,0,0"]').click()
    assert "Pixel" not in said(page) and page.locator(".hit").count() == 0


@pytest.mark.browser
def test_keys_do_what_the_mouse_does(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "stage" and page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for key, row in (("ArrowRight", 1), ("ArrowDown", 5), ("ArrowLeft", 4), ("ArrowLeft", 4), ("ArrowUp", 0), ("End", 15), ("Home", 0)):
        page.keyboard.press(key)
        assert f"→ row {row}." in said(page), key
    page.keyboard.press("Shift+ArrowRight")
    assert "Pixel (1, 1) is read 4 times." in said(page)
    page.keyboard.press("Shift+ArrowDown")
    assert "Pixel (2, 1) is read 6 times." in said(page)
    page.keyboard.press("Escape")
    assert "Pixel" not in said(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"


@pytest.mark.browser
def test_play_fills_the_matrix_row_by_row(page: Any) -> None:
    page.locator("button").click()
    assert page.locator(".row.empty").count() == 15 and "Pause" in page.locator("button").inner_text()
    page.wait_for_function("document.querySelectorAll('.row.empty').length < 14")
    page.locator("button").click()                                     # paused: it stays
    left = page.locator(".row.empty").count()
    assert 0 < left < 14 and f"row {15 - left}" in said(page) and "Continue" in page.locator("button").inner_text()
    page.locator("button").click()
    page.wait_for_function("document.querySelectorAll('.row.empty').length === 0", timeout=20000)
    assert "row 15" in said(page) and "Fill" in page.locator("button").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("page", ["reduce"], indirect=True)
def test_with_reduced_motion_a_press_is_a_row(page: Any) -> None:
    page.locator("button").click()
    assert page.locator(".row.empty").count() == 15 and "Next row" in page.locator("button").inner_text()
    page.locator("button").click()
    assert page.locator(".row.empty").count() == 14 and "row 1" in said(page)
    assert page.evaluate("getComputedStyle(document.querySelector('.window')).transitionDuration") == "0s"


@pytest.mark.browser
def test_python_moves_it_and_it_leaves_quietly(page: Any) -> None:
    page.evaluate("window.model.set('row', 7)")
    assert "Window at (1, 3) → row 7." in said(page)
    page.evaluate("window.leave(); window.model.set('row', 1)")
    assert "row 7" in said(page)
