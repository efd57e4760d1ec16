"""The step of two workers: its model of time, its drawing, its widget."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from hpml.widgets import steps, steps_svg
from hpml.widgets.steps import BACKWARD, FORWARD, LAYERS, WAYS, efficiency, plan, status

ALONE = FORWARD + LAYERS * BACKWARD
CASES = [(slower, message, way) for slower in (0, 30, 100) for message in (0, 25, 100) for way in WAYS]


@pytest.mark.parametrize("case", CASES)
def test_nothing_happens_twice_at_once_or_before_it_can(case):
    pieces, end = plan(*case)
    assert max(p.end for p in pieces) == end
    for worker in (0, 1):
        for kinds in (("forward", "backward"), ("send",)):
            row = sorted((p for p in pieces if p.worker == worker and p.what in kinds), key=lambda p: p.begin)
            assert all(a.end <= b.begin for a, b in zip(row, row[1:], strict=False))
    for sent in (p for p in pieces if p.what == "send"):
        layers = range(LAYERS) if case[2] == "end" else [sent.layer]
        assert all(p.end <= sent.begin for p in pieces if p.what == "backward" and p.layer in layers)


def test_equal_workers_do_not_wait_and_the_slower_one_never_does():
    assert not [p for p in plan(0, 25, "end")[0] if p.what == "wait"]
    waits = [p for p in plan(40, 25, "end")[0] if p.what == "wait"]
    assert {p.worker for p in waits} == {0}
    assert waits[0].end - waits[0].begin == pytest.approx(0.4 * ALONE)


def test_a_message_for_each_layer_travels_behind_the_backward_pass():
    assert plan(0, 40, "end")[1] == pytest.approx(ALONE + 42)
    assert plan(0, 40, "layer")[1] == pytest.approx(ALONE + 12)
    assert efficiency(0, 40, "layer") > efficiency(0, 40, "end")


def test_efficiency_is_one_only_without_message_and_difference():
    assert efficiency(0, 0) == pytest.approx(ALONE / (ALONE + 2))
    assert efficiency(100, 0) == pytest.approx(2 / (2 * ALONE + 2) / (1.5 / ALONE))


@pytest.mark.parametrize("bad", [(-1, 25, "end"), (30, 101, "end"), (30, 25, "never")])
def test_bad_input_is_told_what_would_work(bad):
    with pytest.raises(ValueError, match="not"):
        steps(*bad)


@pytest.mark.parametrize("case", CASES)
def test_the_drawing_is_xml_and_stays_inside(case):
    root = ET.fromstring(steps_svg(*case))
    wide = float(root.get("width"))
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(box.get("x", 0)) + float(box.get("width")) <= wide
    assert root.get("aria-label") == status(*case)


def test_the_widget_draws_anew_when_a_slider_moves():
    widget = steps(30, 25)
    before = widget.drawing
    widget.slower = 80
    assert widget.drawing != before and widget.said == status(80, 25)
    widget.way = "layer"
    assert widget.said == status(80, 25, "layer")
    widget.slower = 400
    assert widget.slower == 100
    bundle, _ = widget._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg") and "Efficiency" in bundle["text/plain"]
