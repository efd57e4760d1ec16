"""The roofline widget: its drawing, what it refuses, what stays where no kernel runs, and how it behaves in a browser."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
import traitlets
from browsing import quiet_page, widget_page

from hpml import widgets
from hpml.widgets.roofline import LEAST, MOST, roof, status

PEAK, BANDWIDTH = 100.0, 20.0                # ridge at 5 FLOP/byte


def shapes(svg: str, kind: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter() if e.get("class") == kind]


def corners(svg: str, kind: str = "roof") -> list[tuple[float, float]]:
    (path,) = shapes(svg, kind)
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path.get("d", ""))]


# --------------------------------------------------------------------------------------------------------- the drawing


def test_the_roof_is_the_smaller_of_two_limits() -> None:
    assert [roof(i, PEAK, BANDWIDTH) for i in (0.5, 5, 50)] == [10, 100, 100]


def test_the_drawing_is_true_to_scale() -> None:
    """On a doubly logarithmic field equal ratios are equal distances, along each axis."""
    svg = widgets.roofline_svg(PEAK, BANDWIDTH)
    (x0, y0), (x1, y1), (x2, y2) = corners(svg)
    left, top, wide, high, least, most, low, tall = map(float, ET.fromstring(svg).get("data-geometry", "").split(","))
    assert (least, most) == (LEAST, MOST) and y1 == y2 and (x0, x2) == (left, left + wide)
    assert (x1 - x0) / wide == pytest.approx(math.log(5 / LEAST) / math.log(MOST / LEAST), abs=1e-3)
    assert (y0 - y1) / high == pytest.approx(math.log(PEAK / (LEAST * BANDWIDTH)) / math.log(tall / low), abs=1e-3)


def test_the_point_stands_half_way_up_and_where_it_is_told() -> None:
    (half,), (same,) = (shapes(widgets.roofline_svg(PEAK, BANDWIDTH, speed=speed), "point") for speed in (None, 10))
    assert half.attrib == same.attrib
    (higher,) = shapes(widgets.roofline_svg(PEAK, BANDWIDTH, speed=20), "point")
    (aim,) = shapes(widgets.roofline_svg(PEAK, BANDWIDTH, speed=20), "aim")
    assert float(higher.get("cy", 0)) < float(half.get("cy", 0)) and higher.get("cy") == aim.get("cy")


@pytest.mark.parametrize(("more", "moved"), [("bandwidth", "slope"), ("peak", "flat")])
def test_what_is_bought_moves_its_own_part_of_the_roof(more: str, moved: str) -> None:
    old = corners(widgets.roofline_svg(PEAK, BANDWIDTH))
    new = corners(widgets.roofline_svg(PEAK, BANDWIDTH, more=more), "more")
    assert (new[0] != old[0]) == (moved == "slope") and (new[2] != old[2]) == (moved == "flat")


@pytest.mark.parametrize(("arguments", "words"), [
    ((1.0, 10.0), "1 FLOP/byte: memory is the limit, at 20 GFLOP/s. The point is at 10: 50 % of it."),
    ((50.0, 25.0), "50 FLOP/byte: arithmetic is the limit, at 100 GFLOP/s. The point is at 25: 25 % of it."),
    ((1.0, 30.0), "1 FLOP/byte: memory is the limit, at 20 GFLOP/s. The point is at 30: above the roof. Nothing gets there, unless its "
                  "bytes come from a cache."),
])
def test_status(arguments: tuple[float, float], words: str) -> None:
    assert status(*arguments, PEAK, BANDWIDTH) == words


def test_twice_the_peak_helps_nobody_left_of_the_ridge() -> None:
    assert status(1, 10, PEAK, BANDWIDTH, "peak") == status(1, 10, PEAK, BANDWIDTH)
    assert "at 40 GFLOP/s" in status(1, 10, PEAK, BANDWIDTH, "bandwidth")


def test_drawing_on_paper_stands_alone() -> None:
    paper, page = widgets.roofline_svg(PEAK, BANDWIDTH), widgets.roofline_svg(PEAK, BANDWIDTH, paper=False)
    assert "<style>" in paper and 'class="sheet"' in paper and "<style>" not in page
    assert widgets.roofline_svg(PEAK, BANDWIDTH) == paper
    assert "matrix × vector" in page and "my &lt;own&gt;" in widgets.roofline_svg(PEAK, BANDWIDTH, kernels={"my <own>": 3})


@pytest.mark.parametrize(("arguments", "reason"), [
    ({"peak": 0.0, "bandwidth": 1.0}, "positive"), ({"peak": 100.0, "bandwidth": "fast"}, "positive"),
    ({"peak": 1e12, "bandwidth": 20.0}, "other units"), ({"peak": 100.0, "bandwidth": 20.0, "kernels": {"x": 0}}, "intensity of 'x'"),
])
def test_what_makes_no_picture_is_refused_with_the_reason(arguments: dict[str, Any], reason: str) -> None:
    for make in (widgets.roofline, widgets.roofline_svg):
        with pytest.raises(ValueError, match=reason):
            make(**arguments)


# ---------------------------------------------------------------------------------------------------------- the widget


def test_state_is_checked() -> None:
    widget = widgets.roofline(PEAK, BANDWIDTH)
    widget.intensity, widget.speed, widget.more = 512.0, 100.0, "peak"
    for name, value in (("intensity", 0.0), ("intensity", 2000.0), ("speed", 0.0), ("speed", 1e6), ("more", "cache")):
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, value)
    assert (widget.intensity, widget.speed, widget.more) == (512, 100, "peak")


def test_static_picture_travels_along() -> None:
    widget = widgets.roofline(PEAK, BANDWIDTH)
    widget.intensity, widget.speed = 50.0, 25.0
    bundle = widget._repr_mimebundle_()
    assert bundle is not None and "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["image/svg+xml"] == widgets.roofline_svg(PEAK, BANDWIDTH, intensity=50, speed=25)
    assert "arithmetic is the limit" in bundle[0]["text/plain"]


# --------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    text = widget_page("roofline", widgets.roofline(PEAK, BANDWIDTH), "drawing machine kernels intensity speed more")
    with quiet_page(browser, text) as opened:
        yield opened


def said(page: Any) -> str:
    return str(page.locator(".said").inner_text())


def state(page: Any) -> tuple[float, float, str]:
    i, s, more = page.evaluate("['intensity', 'speed', 'more'].map((k) => window.model.get(k))")
    return i, s, more


@pytest.mark.browser
def test_browser_and_python_say_the_same(page: Any) -> None:
    assert said(page) == status(1.0, 10.0, PEAK, BANDWIDTH)
    for i, s, more in ((0.0625, 1.0, ""), (7.123456, 44.5, "peak"), (512.0, 180.0, "peak"), (2.0, 41.3, "bandwidth"), (4.9, 99.0, "")):
        page.evaluate(f"for (const [k, v] of [['intensity', {i}], ['speed', {s}], ['more', '{more}']]) window.model.set(k, v)")
        assert said(page) == status(i, s, PEAK, BANDWIDTH, more)


@pytest.mark.browser
def test_the_browser_draws_what_python_draws(page: Any) -> None:
    page.evaluate("window.model.set('intensity', 50); window.model.set('speed', 25); window.model.set('more', 'peak')")
    drawn = widgets.roofline_svg(PEAK, BANDWIDTH, intensity=50, speed=25, more="peak")
    for kind, names in (("point", ("cx", "cy")), ("aim", ("cx", "cy"))):
        for name in names:
            there = float(page.locator(f"circle.{kind}").get_attribute(name))
            assert there == pytest.approx(float(shapes(drawn, kind)[0].get(name, "nan")), abs=0.1)
    dashed = re.findall(r"([\d.]+),([\d.]+)", page.locator("path.more").get_attribute("d"))
    assert [(float(x), float(y)) for x, y in dashed] == [pytest.approx(c, abs=0.1) for c in corners(drawn, "more")]


@pytest.mark.browser
def test_dragging_moves_the_point(page: Any) -> None:
    box = page.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    first = state(page)
    page.mouse.move(box["x"] + 400, box["y"] + 120)
    second = state(page)
    page.mouse.up()
    page.mouse.move(box["x"] + 100, box["y"] + 300)
    assert second[0] > first[0] > 1 and second[1] > first[1] and state(page) == second
    assert page.evaluate("window.saved.length") >= 2


@pytest.mark.browser
def test_keys_do_what_the_mouse_does(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "stage"
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert state(page)[0] == pytest.approx(2)
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    assert state(page)[1] == pytest.approx(2.5)
    page.keyboard.press("End")
    assert said(page).endswith("100 % of it.")
    page.keyboard.press("Home")
    assert state(page)[0] == pytest.approx(5)
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    assert state(page)[0] == LEAST                                     # and no further


@pytest.mark.browser
def test_buying_and_jumping(page: Any) -> None:
    page.locator("button", has_text="2 × bandwidth").click()
    assert "at 40 GFLOP/s" in said(page) and page.locator("[data-more=bandwidth]").get_attribute("aria-pressed") == "true"
    page.locator("button", has_text="2 × peak").click()
    assert state(page)[2] == "peak" and "at 20 GFLOP/s" in said(page)
    page.locator("button", has_text="2 × peak").click()
    assert state(page)[2] == "" and page.locator("path.more").get_attribute("d") == ""
    page.locator("button", has_text="dense, 512").click()
    assert state(page)[:2] == (pytest.approx(512 / 6), pytest.approx(50))          # half way up, as before


@pytest.mark.browser
def test_it_leaves_quietly(page: Any) -> None:
    before = said(page)
    page.evaluate("window.leave(); window.model.set('intensity', 9)")
    assert said(page) == before
