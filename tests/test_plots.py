"""Figures: the same bytes every time, readable on light and dark pages, and the numbers where they belong."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from matplotlib.figure import Figure

from hpml import plots, theme
from hpml.verdict import Measured, Roofline

SVG = "{http://www.w3.org/2000/svg}"


def measured(**changes: object) -> Measured:
    values: dict[str, object] = {
        "target": "speedup", "versus": "six_loops", "start": 20, "full": 200, "ratio": 412, "low": 398, "high": 427, "credit": 1,
        "samples": [(1.0, 400.0), (1.1, 460.0), (0.9, 370.0), (1.0, 415.0)]}
    return Measured.model_validate({**values, **changes})


ROOF = Roofline(gflops=45, peak_gflops=155, bandwidth_gbs=15, intensity=31, fraction_of_peak=0.29)


def words(svg: str) -> str:
    return " ".join("".join(t.itertext()) for t in ET.fromstring(svg).iter(f"{SVG}text"))


def test_svg_is_the_same_every_time() -> None:
    first, second = (plots.svg(plots.samples(measured())) for _ in range(2))
    assert first == second and "<metadata" not in first and not re.search(r"20\d\d-\d\d", first)


def test_svg_stands_alone_inside_html() -> None:
    svg = plots.svg(plots.roofline([("yours", 31, 45)], ROOF), label='a "label" <b>')
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("aria-label") == 'a "label" <b>'
    assert "<style" not in svg and "<?xml" not in svg and "<!DOCTYPE" not in svg          # none of which may meet the page's


def test_two_figures_share_no_ids() -> None:
    one, other = plots.svg(plots.samples(measured())), plots.svg(plots.samples(measured(ratio=400)))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', one))
    assert used and used <= ids[0]


def test_text_takes_the_colour_of_the_page_or_is_dark_on_paper() -> None:
    drawn = plots.samples(measured())
    page, paper = plots.svg(drawn), plots.svg(drawn, paper=True)
    assert "currentColor" in page and plots.INK not in page
    assert "currentColor" not in paper and plots.INK in paper and "#ffffff" in paper


def test_samples_shows_every_pair_and_both_lines() -> None:
    drawn = plots.samples(measured())
    axis = drawn.axes[0]
    dots = next(line for line in axis.lines if line.get_marker() == "o")
    assert list(dots.get_ydata()) == pytest.approx([400, 460 / 1.1, 370 / 0.9, 415])
    low, high = axis.get_ylim()
    assert low < 20 and high > 427 and axis.get_yscale() == "log"
    said = words(plots.svg(drawn))
    assert "start 20×" in said and "full 200×" in said and "you 412×" in said and "the six loops" in said


@pytest.mark.parametrize("changes", [
    {"low": 0.0, "high": math.inf}, {"samples": []}, {"samples": [(1.0, 5.0)], "ratio": 5.0, "low": 0.0, "high": math.inf},
    {"target": "fraction", "versus": "framework_conv", "start": 0.1, "full": 0.35, "ratio": 0.35, "low": 0.3499, "high": 0.3501},
])
def test_samples_without_an_interval_or_with_labels_in_one_place(changes: dict[str, object]) -> None:
    svg = plots.svg(plots.samples(measured(**changes)))
    ET.fromstring(svg)
    assert "nan" not in svg and "inf" not in re.sub(r"[\w-]*inf[a-z]+", "", svg)


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    placed = plots._apart([0.5, 0.51, 0.1], 0.1)
    assert placed[2] == 0.1 and placed[1] - placed[0] == pytest.approx(0.1)
    assert plots._apart([0.2, 0.8], 0.1) == [0.2, 0.8]


def test_roof_has_its_ridge_where_bandwidth_meets_peak() -> None:
    axis = plots.roofline([("yours", 31, 45), ("the six loops", 31, 0.1)], ROOF).axes[0]
    xs, ys = axis.lines[0].get_data()
    assert xs[1] == pytest.approx(155 / 15) and ys[1] == ys[2] == 155 and ys[0] == pytest.approx(xs[0] * 15)


def test_roofline_says_how_far_up_the_answer_is() -> None:
    said = words(plots.svg(plots.roofline([("yours", 31, 45), ("the framework", 31, 170)], ROOF)))
    assert "yours: 45.0 GFLOP/s, 29 % of the roof" in said and "the framework: 170 GFLOP/s" in said
    assert "peak 155 GFLOP/s, memory 15.0 GB/s" in said


@pytest.mark.parametrize("speeds", [(45, 45, 45), (45, 50, 0.1), (160, 150, 140), (45, 0.1, 4500)])
def test_no_marker_of_a_roofline_hides_another(speeds: tuple[float, ...]) -> None:
    drawn = plots.roofline([(f"point {n}", 31, speed) for n, speed in enumerate(speeds)], ROOF)
    drawn.draw_without_rendering()
    axis = drawn.axes[0]
    marks = [line for line in axis.lines if line.get_marker() not in ("None", None, "")]
    assert [line.get_ydata()[0] for line in marks] == list(speeds)
    places = [line.get_transform().transform(line.get_xydata()[0]) for line in marks]
    assert all(math.dist(one, other) > 11 * drawn.dpi / 72 for n, one in enumerate(places) for other in places[:n])
    assert all(axis.bbox.contains(*place) for place in places)


def test_a_roofline_keeps_to_its_points_however_long_their_names() -> None:
    short, long = (plots.roofline([("yours", 31, 45), (name, 31, 40)], ROOF).axes[0] for name in ("b", "b" * 60))
    assert short.get_xlim() == long.get_xlim() and long.get_xlim()[1] < 500


def test_roofline_below_the_ridge_compares_with_the_bandwidth() -> None:
    assert "yours: 15.0 GFLOP/s, 50 % of the roof" in words(plots.svg(plots.roofline([("yours", 2, 15)], ROOF)))


def test_a_figure_from_elsewhere_gets_our_ink_and_its_images_keep_theirs() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.set_title("around")
    left.imshow([[1, 2], [3, 4]])
    left.text(0.5, 0.5, "inside", color="black")
    right.text(0.5, 0.5, "nothing yet")
    lines = right.plot([0, 1], label="a line")
    right.legend(frameon=False)
    figure.legend(lines, ["on paper"], frameon=True)
    left.inset_axes([1.1, 0, 0.1, 1]).set_title("scale")
    svg = plots.svg(figure)
    styles = {word: re.search(rf'<text style="([^"]*)"[^>]*>{word}</text>', svg) for word in
              ("around", "inside", "nothing yet", "a line", "on paper", "scale")}
    inked = {word for word, style in styles.items() if style and "currentColor" in style[1]}
    assert inked == {"around", "nothing yet", "a line", "scale"}


def test_a_lab_figure_shows_itself_in_our_style() -> None:
    figure, axis = plots.figure()
    axis.plot([1, 2], [1, 2])
    axis.set(title="Two are more than one", xlabel="threads")
    shown = figure._repr_mimebundle_()
    assert axis.get_title(loc="left") == "Two are more than one" and theme.BLUE in shown["text/html"]
    assert "currentColor" in shown["text/html"] and "currentColor" not in shown["image/svg+xml"]
    assert shown["text/plain"] == "<figure: Two are more than one>"


def test_several_axes() -> None:
    figure, axes = plots.figure(rows=1, columns=2, sharey=True)
    assert axes.shape == (2,) and len(figure.axes) == 2


def test_no_pyplot_state() -> None:
    code = "import sys; from hpml import plots; plots.svg(plots.figure()[0]); sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
