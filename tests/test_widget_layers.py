"""AlexNet's layers as bars: the counts, the drawing, the widget."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from hpml.widgets import layers, layers_svg
from hpml.widgets.layers import REMOVABLE, count, memory, status

CASES = [(), ("conv3", "conv4"), ("fc6", "fc7"), ("conv3", "conv4", "fc6", "fc7"), ("conv1",), REMOVABLE]


def test_the_whole_network_is_as_published() -> None:
    whole = count()
    assert sum(c.parameters for c in whole) == 60_965_224
    assert sum(c.macs for c in whole) == 724_406_816
    assert sum(c.outputs for c in whole if c.kind != "pool") == 659_272, "about 650 thousand neurons"


def test_memory_is_three_numbers_a_weight_and_one_an_output() -> None:
    state, kept = memory(batch=10)
    assert state == 12 * 60_965_224
    assert kept == 40 * (227 * 227 * 3 + sum(c.outputs for c in count()))
    assert memory(batch=20) == (state, 2 * kept)


@pytest.mark.parametrize("gone", CASES)
def test_what_is_taken_away_is_gone_and_the_rest_fits_together(gone: tuple[str, ...]) -> None:
    left = count(gone)
    assert not {c.name for c in left} & set(gone) and left[-1].outputs == 1000
    assert all(c.outputs > 0 and (c.parameters > 0) == (c.kind != "pool") for c in left)


def test_without_fc6_and_fc7_the_last_layer_reads_the_feature_maps() -> None:
    assert count(("fc6", "fc7"))[-1].parameters == 1000 * (6 * 6 * 256 + 1)


def test_two_towers_need_channels_that_divide() -> None:
    conv2 = count(("conv1",))[1]
    assert conv2.name == "conv2" and conv2.parameters == 256 * (25 * 3 + 1)


@pytest.mark.parametrize("gone", CASES)
@pytest.mark.parametrize("batch", [1, 1024])
def test_the_drawing_is_xml_and_stays_inside(gone: tuple[str, ...], batch: int) -> None:
    root = ET.fromstring(layers_svg(gone, batch))
    wide, high = float(root.get("width", 0)), float(root.get("height", 0))
    for box in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y = float(box.get("x", 0)), float(box.get("y", 0))
        assert x >= 0 and y >= 0 and x + float(box.get("width", 0)) <= wide and y + float(box.get("height", 0)) <= high
    assert root.get("aria-label") == status(gone, batch)


def test_a_slide_has_weights_and_work_alone() -> None:
    flat, whole = (ET.fromstring(layers_svg(with_memory=w)) for w in (False, True))
    assert float(flat.get("height", 0)) < 0.7 * float(whole.get("height", 0)) and "graphics card" not in ET.tostring(flat, "unicode")


def test_bad_input_is_told_what_would_work() -> None:
    with pytest.raises(ValueError, match="these can: conv1"):
        layers(["fc8"])
    with pytest.raises(ValueError, match="1 to 1024"):
        layers(batch=0)


def test_the_widget_draws_anew_when_something_changes() -> None:
    widget = layers()
    before = widget.drawing
    widget.gone = ["fc6"]
    assert widget.drawing != before and widget.said == status(["fc6"])
    widget.batch = 4096
    assert widget.batch == 1024 and widget.said == status(["fc6"], 1024)
    bundle, _ = widget._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg") and bundle["text/plain"].startswith("AlexNet without fc6.")
