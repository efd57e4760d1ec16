"""The ring widget: its steps are a ring allreduce, its drawing shows them, and it behaves in a browser."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
import traitlets
from browsing import quiet_page, widget_page

from hpml import widgets
from hpml.widgets.ring import contents, phase, sends, status

RANKS = range(2, 9)


def parts(svg: str, kind: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter() if kind in e.get("class", "").split()]


# ------------------------------------------------------------------------------------------------------------ the steps


@pytest.mark.parametrize("n", RANKS)
def test_the_steps_are_a_ring_allreduce(n: int) -> None:
    everybody = frozenset(range(n))
    assert contents(n, 0) == [[frozenset({r})] * n for r in range(n)]
    assert [[c for c in range(n) if held[c] == everybody] for held in contents(n, n - 1)] == [[r] for r in range(n)]
    assert contents(n, 2 * (n - 1)) == [[everybody] * n for _ in range(n)]
    for k in range(1, n):                       # what is added is never in it already: a sum counts everybody once
        held = contents(n, k - 1)
        assert all(not held[r][c] & held[(r + 1) % n][c] for r, c in enumerate(sends(n, k)))
    for k in range(n, 2 * n - 1):               # and only complete chunks are passed on
        assert all(contents(n, k - 1)[r][c] == everybody for r, c in enumerate(sends(n, k)))


def test_the_sentence() -> None:
    assert "Each rank has sent 0.00 S" in status(4, 0)
    assert status(4, 3).startswith("Step 3 of 6, reduce-scatter: rank 0 sends chunk 1 to rank 1, which adds it")
    assert "Each rank now has one chunk complete." in status(4, 3) and "complete" not in status(4, 4)
    assert "Every rank has the whole sum. Each rank has sent 1.50 S; the root of gather-and-broadcast sends 3 S." in status(4, 6)
    assert [phase(4, k) for k in range(7)] == ["start"] + ["reduce-scatter"] * 3 + ["allgather"] * 3


# ---------------------------------------------------------------------------------------------------------- the drawing


@pytest.mark.parametrize("n", RANKS)
def test_the_drawing_shows_what_each_rank_holds(n: int) -> None:
    for k in range(2 * n - 1):
        root = ET.fromstring(widgets.ring_svg(n, k))
        shown = [[{int(e.get("class", "c")[1:]) for e in chunk if e.tag.endswith("path")}
                  for chunk in rank if "chunk" in chunk.get("class", "").split()]
                 for rank in root.iter() if rank.get("data-rank") is not None]
        assert shown == [[set(what) for what in held] for held in contents(n, k)]
        went = [int(e.text or "") for e in parts(widgets.ring_svg(n, k), "what")]
        assert went == (sends(n, k) if k else [])


@pytest.mark.parametrize("n", RANKS)
def test_cards_lie_apart_and_inside(n: int) -> None:
    svg = widgets.ring_svg(n, 1)
    _, _, wide, high = map(float, ET.fromstring(svg).get("viewBox", "").split())
    boxes = [tuple(float(e.get(a, "")) for a in ("x", "y", "width", "height")) for e in parts(svg, "card")]
    assert len(boxes) == n
    assert all(x >= 0 and y >= 20 and x + w <= wide and y + h <= high for x, y, w, h in boxes)
    assert all(abs(a[0] - b[0]) > a[2] + 20 or abs(a[1] - b[1]) > a[3] + 20 for i, a in enumerate(boxes) for b in boxes[:i])


def test_drawing_on_paper_stands_alone() -> None:
    paper, page = widgets.ring_svg(), widgets.ring_svg(paper=False)
    assert "<style>" in paper and 'class="sheet"' in paper and "<style>" not in page
    assert widgets.ring_svg() == paper


@pytest.mark.parametrize(("arguments", "reason"), [({"ranks": 1}, "2 to 8"), ({"ranks": 9}, "2 to 8"), ({"ranks": 2.5}, "whole number"),
                                                   ({"step": 7}, "0 to 6"), ({"step": -1}, "0 to 6")])
def test_what_makes_no_picture_is_refused_with_the_reason(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        widgets.ring_svg(**arguments)
    if "ranks" in arguments:
        with pytest.raises(ValueError, match=reason):
            widgets.ring(**arguments)


# ----------------------------------------------------------------------------------------------------------- the widget


def test_state_is_checked() -> None:
    widget = widgets.ring(ranks=3)
    widget.step = 4
    with pytest.raises(traitlets.TraitError, match="0 to 4"):
        widget.step = 5
    assert widget.step == 4 and len(widget.frames) == len(widget.said) == 5


def test_static_picture_travels_along() -> None:
    widget = widgets.ring()
    widget.step = 3
    bundle = widget._repr_mimebundle_()
    assert bundle is not None and "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["image/svg+xml"] == widgets.ring_svg(4, 3)
    assert "Step 3 of 6" in bundle[0]["text/plain"]


# ---------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    with quiet_page(browser, widget_page("ring", widgets.ring(), "frames said step"), viewport={"width": 760, "height": 800},
                    device_scale_factor=1.25, reduced_motion=getattr(request, "param", "no-preference")) as opened:
        yield opened


def shown(page: Any) -> int:
    """The step of the picture; sentence, counter and state agree with it."""
    step = int(page.locator("svg").get_attribute("data-step"))
    assert page.locator(".said").inner_text() == status(4, step) and page.locator(".at").inner_text() == f"{step} / 6"
    assert page.evaluate("window.model.get('step')") == step
    return step


@pytest.mark.browser
def test_buttons_step(page: Any) -> None:
    assert shown(page) == 0
    for button, step in (("one step on", 1), ("one step on", 2), ("one step back", 1), ("one step back", 0)):
        page.get_by_role("button", name=button).click()
        assert shown(page) == step
    assert page.evaluate("window.saved.length") >= 4
    assert page.get_by_role("button", name="one step back").get_attribute("aria-disabled") == "true"


@pytest.mark.browser
def test_keys_do_what_the_buttons_do(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "stage"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for key, step in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 6), ("ArrowRight", 6), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert shown(page) == step, key
    for name in ("back", "on", "play"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == name
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert shown(page) == 1


@pytest.mark.browser
def test_play_goes_to_the_end_and_can_be_paused(page: Any) -> None:
    page.evaluate("window.model.set('step', 3)")
    page.locator(".play").click()
    assert "Pause" in page.locator(".play").inner_text()
    page.wait_for_function("window.model.get('step') === 4")
    page.locator(".play").click()
    assert shown(page) == 4 and "Pause" not in page.locator(".play").inner_text()
    page.locator(".play").click()
    page.wait_for_function("window.model.get('step') === 6", timeout=20000)
    assert shown(page) == 6 and "again" in page.locator(".play").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("page", ["reduce"], indirect=True)
def test_with_reduced_motion_a_press_is_a_step(page: Any) -> None:
    page.locator(".play").click()
    assert shown(page) == 1 and "Pause" not in page.locator(".play").inner_text()
    assert page.evaluate("getComputedStyle(document.querySelector('.arrow.on .shaft')).animationName") == "none"


@pytest.mark.browser
def test_it_fits_a_narrow_page(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.browser
def test_python_moves_it_and_it_leaves_quietly(page: Any) -> None:
    page.evaluate("window.model.set('step', 5)")
    assert shown(page) == 5
    page.evaluate("window.leave(); window.model.set('step', 1)")
    assert page.locator("svg").get_attribute("data-step") == "5"
