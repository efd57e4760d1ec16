"""The playground: its network learns, its static picture shows that, and it behaves in a browser without a kernel."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from browsing import quiet_page, widget_page

from hpml import widgets
from hpml.widgets.playground import NAMES, POINTS, Net, learn, sample


@pytest.mark.parametrize("data", NAMES)
def test_points_are_inside_and_of_both_colours(data: str) -> None:
    x, y = sample(data, np.random.default_rng(0))
    assert x.shape == (POINTS, 2) and y.sum() == POINTS / 2 and np.abs(x).max() < 1.3


def test_a_step_goes_against_the_numerical_gradient() -> None:
    rng = np.random.default_rng(3)
    x, y = sample("ring", rng)
    net, change = Net(3, rng), 1e-5
    for name in ("w", "b", "v"):
        values, slopes = getattr(net, name), []
        for at in np.ndindex(*values.shape):
            kept, losses = values[at], []
            for moved in (kept + change, kept - change):
                values[at] = moved
                losses.append(net.loss(x, y))
            values[at] = kept
            slopes.append((losses[0] - losses[1]) / (2 * change))
        before = {key: getattr(net, key).copy() for key in ("w", "b", "v")} | {"c": net.c}
        net.step(x, y, 0.5)
        assert np.allclose((before[name] - getattr(net, name)).ravel() / 0.5, slopes, atol=1e-6)
        for key, value in before.items():
            setattr(net, key, value)


def test_what_one_neuron_cannot_do_six_can() -> None:
    def right(hidden: int) -> float:
        net, x, y, _ = learn("ring", hidden, 0.1, 1)
        return float(((net.score(x) > 0) == (y == 1)).mean())
    assert right(1) < 0.85 and right(6) > 0.97


@pytest.mark.parametrize(("arguments", "reason"), [({"data": "moons"}, "clouds, ring"), ({"hidden": 0}, "1 to 16"),
                                                   ({"hidden": 17}, "1 to 16"), ({"hidden": 2.5}, "whole number"), ({"rate": 5}, "0.01")])
def test_what_makes_no_network_is_refused_with_the_reason(arguments: dict[str, Any], reason: str) -> None:
    for make in (widgets.playground, widgets.playground_svg):
        with pytest.raises(ValueError, match=reason):
            make(**arguments)


def test_state_is_checked() -> None:
    widget = widgets.playground()
    for name, value in (("data", "moons"), ("hidden", 99), ("rate", 7)):
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, value)


def test_the_static_picture_is_of_these_settings_and_the_same_every_time() -> None:
    assert widgets.playground_svg("corners", 5) == widgets.playground_svg("corners", 5) != widgets.playground_svg("corners", 6)
    ET.fromstring(widgets.playground_svg())
    bundle = widgets.playground("clouds", 1)._repr_mimebundle_()
    assert bundle is not None and bundle[0]["image/svg+xml"] == widgets.playground_svg("clouds", 1)
    assert bundle[0]["text/plain"].startswith("Two clouds, 1 hidden neuron: after 3000 steps")


# ---------------------------------------------------------------------------------------------------------- the browser


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    text = widget_page("playground", widgets.playground(), "data hidden rate seed", "window.Net = Net; window.sample = sample;")
    with quiet_page(browser, text, viewport={"width": 960, "height": 720}, device_scale_factor=1.25,
                    reduced_motion=getattr(request, "param", "no-preference")) as opened:
        opened.wait_for_selector(".hpml-playground .neurons button")
        yield opened
        if folder := os.environ.get("HPML_SHOTS"):
            opened.screenshot(path=Path(folder) / f"playground-{request.node.name}.png")


def steps_done(page: Any) -> int:
    return int(re.sub(r"\D", "", page.locator("b.steps").inner_text()))


@pytest.mark.browser
@pytest.mark.parametrize(("data", "hidden", "rate", "least"), [("clouds", 1, 0.1, 0.95), ("ring", 6, 0.1, 0.97), ("corners", 6, 0.1, 0.95),
                                                               ("spiral", 16, 0.3, 0.8)])
def test_the_browser_learns_every_set_of_points(page: Any, data: str, hidden: int, rate: float, least: float) -> None:
    found = page.evaluate("""([data, hidden, rate]) => [1, 2, 3].map((seed) => {
      const points = sample(data, 1), net = new Net(hidden, seed);
      for (let n = 0; n < 8000; n++) net.step(points, rate);
      return net.judge(points)[1];
    })""", [data, hidden, rate])
    assert max(found) >= least, found


@pytest.mark.browser
def test_play_learns_and_pause_stays(page: Any) -> None:
    before = float(page.locator("b.now").inner_text())
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("Number(document.querySelector('b.steps').textContent.replace(/\\D/g, '')) > 600", timeout=60000)
    page.get_by_role("button", name="Pause").click()
    done = steps_done(page)
    assert float(page.locator("b.now").inner_text()) < before
    assert f"After {done} steps" in page.locator(".said").inner_text()
    page.get_by_role("button", name="One step").click()
    assert steps_done(page) == done + 1
    page.get_by_role("button", name="New beginning").click()
    assert steps_done(page) == 0 and page.evaluate("window.model.get('seed')") == 2 and page.evaluate("window.saved.length") == 1


@pytest.mark.browser
def test_everything_is_reached_with_the_keyboard(page: Any) -> None:
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("((e) => e.className || e.dataset.name || e.ariaLabel)(document.activeElement)"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen[:5] == ["clouds", "ring", "corners", "spiral", "plane"]
    assert seen[9:] == ["play", "one", "again", "hidden", "rate"]
    page.locator("input.hidden").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.model.get('hidden')") == 5 and page.locator(".neurons button").count() == 5
    page.locator("button[data-name=spiral]").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("window.model.get('data')") == "spiral"
    assert page.locator("[aria-pressed=true]").get_attribute("data-name") == "spiral"
    page.locator(".plane").focus()
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelector('.play').textContent.includes('Pause')")
    page.keyboard.press(" ")
    assert "Play" in page.locator(".play").inner_text()


@pytest.mark.browser
def test_a_click_adds_a_point(page: Any) -> None:
    page.locator(".plane").click(position={"x": 20, "y": 20})
    page.locator(".plane").click(position={"x": 40, "y": 20}, modifiers=["Shift"])
    assert f"of {POINTS + 2} points" in page.locator(".said").inner_text()
    page.get_by_role("button", name="Ring").click()
    assert f"of {POINTS} points" in page.locator(".said").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("page", ["reduce"], indirect=True)
def test_with_reduced_motion_a_press_is_many_steps(page: Any) -> None:
    page.locator(".play").click()
    assert steps_done(page) == 300 and "Play" in page.locator(".play").inner_text()


@pytest.mark.browser
def test_it_fits_a_narrow_page_and_a_dark_one(page: Any) -> None:
    light = page.evaluate("document.querySelector('.plane').toDataURL()")
    page.evaluate("document.body.style.cssText = 'background: #111; color: #ddd'")
    page.wait_for_function("old => document.querySelector('.plane').toDataURL() !== old", arg=light)
    page.set_viewport_size({"width": 360, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.browser
def test_it_can_be_drawn_before_it_is_on_the_page(page: Any) -> None:
    assert page.evaluate("""() => {
      const el = document.createElement("div");
      window.widget.render({ model: window.model, el });
      return el.querySelectorAll(".neurons button").length;
    }""") == 4


@pytest.mark.browser
def test_python_moves_it_and_it_leaves_quietly(page: Any) -> None:
    page.evaluate("window.model.set('hidden', 9)")
    assert page.locator(".neurons button").count() == 9
    page.evaluate("window.leave(); window.model.set('hidden', 3)")
    assert page.locator(".neurons button").count() == 9
