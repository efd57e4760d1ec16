"""One style for every figure of the course, and the figures that the course draws itself.

Figures are plain `matplotlib.figure.Figure` objects, made without pyplot, so none stays behind in a kernel. As HTML their text
takes the colour of the page around them, so they read well in a light and in a dark theme; as a file they have white paper.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import offset_copy

from hpml import theme
from hpml.machine import Machine
from hpml.verdict import Measured, Roofline

INK = "#24292f"                        # the colour of text and axes; `svg` turns it into the colour of the page
CYCLE = (theme.BLUE, theme.VERMILLION, theme.GREEN, theme.PURPLE, theme.ORANGE, theme.SKY)

STYLE: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 11,
    "axes.prop_cycle": cycler(color=CYCLE), "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 10, "axes.labelsize": 11,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.facecolor": "none", "figure.facecolor": "none", "axes.grid": True, "axes.axisbelow": True,
    "grid.color": theme.GREY, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "lines.linewidth": 2.2, "lines.markersize": 7, "legend.frameon": False, "figure.dpi": 100,
}


class Panel(Axes):
    """Axes that keep to the style whatever a kernel's own settings are."""


def _in_style(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def styled(*args: Any, **options: Any) -> Any:
        with mpl.rc_context(STYLE):
            return method(*args, **options)
    return styled


for _name in ("set_title", "plot", "legend", "text", "annotate", "bar", "barh", "bar_label", "errorbar", "fill_between", "scatter"):
    setattr(Panel, _name, _in_style(getattr(Axes, _name)))


class Picture(Figure):
    """A figure that shows itself in a notebook: text in the colour of the theme, paper white where it becomes a file."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": f'<div class="hpml-figure">{svg(self)}</div>', "image/svg+xml": svg(self, paper=True),
                "text/plain": f"<figure: {self.get_suptitle() or '; '.join(a.get_title(loc='left') for a in self.axes)}>"}


for _name in ("legend", "suptitle", "text"):
    setattr(Picture, _name, _in_style(getattr(Figure, _name)))


def figure(width: float = 6.4, height: float = 3.8, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Picture, Any]:
    """A styled figure and its axes (one, or an array of them). Sizes in inches; `options` go to `Figure.subplots`.

    >>> fig, ax = plots.figure()
    >>> ax.plot(threads, speedup)
    >>> ax.set(xlabel="threads", ylabel="speed-up (×)")
    >>> fig
    """
    with mpl.rc_context(STYLE):
        made = Picture(figsize=(width, height), layout="constrained")
        return made, made.subplots(rows, columns, **{"subplot_kw": {"axes_class": Panel}, **options})


def svg(drawn: Figure, label: str = "", paper: bool = False) -> str:
    """The figure as an <svg> element, the same bytes every time.

    label  what it says, for readers who do not see it
    paper  True: dark text on white, for a file; False: text in the colour of the page, for HTML
    """
    _adapt(drawn)
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.fonttype": "none", "svg.hashsalt": "hpml"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white" if paper else "none")
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"\s*<metadata>.*?</metadata>|\s*<style\b.*?</style>", "", text, flags=re.DOTALL)   # that style meant the whole page
    text = re.sub(r"'DejaVu Sans'(, '[^']*')*", "system-ui, 'DejaVu Sans'", text)
    unique = "h" + hashlib.sha256(text.encode()).hexdigest()[:8]        # two figures on one page must not share their ids
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{unique}-", text)
    named = f'role="img" aria-label="{escape(label)}"' if label else 'role="img"'
    text = text.replace("<svg", f'<svg style="max-width: 100%; height: auto; stroke-linejoin: round" {named}', 1)
    return (text if paper else text.replace(INK, "currentColor")).strip()


def _adapt(drawn: Figure) -> None:
    """Give a figure that was made without our style our ink; what is written into an image keeps its colour."""
    if isinstance(drawn, Picture):
        return
    drawn.patch.set_alpha(0)
    for axis in (*drawn.axes, *(inset for outer in drawn.axes for inset in outer.child_axes)):
        if not axis.images:
            axis.patch.set_alpha(0)
        written = [] if axis.images else [text for text in axis.texts if text.get_color() == "black"]
        bare = [legend for legend in (axis.get_legend(), *drawn.legends) if legend and not legend.get_frame_on()]   # a frame is white paper
        named = [text for legend in bare for text in legend.get_texts() if text.get_color() == "black"]
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label, *drawn.texts, *written, *named):
            text.set_color(INK)
        axis.tick_params(colors=INK)
        for spine in axis.spines.values():
            if spine.get_edgecolor()[:3] == (0, 0, 0):
                spine.set_edgecolor(INK)


# ----------------------------------------------------------------------------------------------------------- figures


def _log_axis(axis: Any, low: float, high: float, suffix: str = "") -> None:
    """A logarithmic axis with plain numbers, enough of them whatever its length."""
    decades = math.log10(high / low)
    subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0) if decades > 0.7 else tuple(range(1, 10))
    if decades < 0.3:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(10, subs))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}{suffix}"))
    axis.set_minor_formatter(NullFormatter())


def _title(drawn: Figure, text: str) -> None:
    """A title over the whole width of a small figure."""
    drawn.suptitle(text, x=0.02, ha="left", fontsize=11, fontweight="bold", color=INK)


def samples(measured: Measured, width: float = 3.9, height: float = 2.7) -> Picture:
    """Paired samples of one target, in the order in which they were measured.

    Each dot is one pair, baseline time / student time (dimensionless); the band is the anytime-valid interval, the lines are where
    credit starts and where it is full. Logarithmic axis, because ratios multiply.
    """
    ratios = [baseline / student for student, baseline in measured.samples]
    known = measured.low > 0 and math.isfinite(measured.high)
    seen = [v for v in (*ratios, measured.ratio, measured.start, measured.full, *((measured.low, measured.high) if known else ()))
            if math.isfinite(v) and v > 0]
    margin = max((max(seen) / min(seen)) ** 0.1, 1.06)
    low, high = min(seen) / margin, max(seen) * margin

    drawn, ax = figure(width, height)
    for value, dashes in ((measured.start, (1, 2)), (measured.full, (5, 2))):
        ax.axhline(value, color=theme.GREY, linewidth=1.6, linestyle=(0, dashes))
    if known:
        ax.axhspan(measured.low, measured.high, color=theme.BLUE, alpha=0.25, linewidth=1)
    ax.axhline(measured.ratio, color=theme.BLUE, linewidth=1.4)
    pairs = range(1, len(ratios) + 1)
    ax.plot(pairs, ratios, "o", color=theme.BLUE, markersize=5.5, markeredgecolor="white", markeredgewidth=0.6, clip_on=False)
    ax.set_yscale("log")
    ax.set(ylim=(low, high), xlim=(0.4, max(len(ratios), 4) + 0.6), xlabel="pair, in the order measured", ylabel="their time / yours")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid(axis="x", visible=False)
    speedup = measured.target == "speedup"
    times = "×" if speedup else ""
    _log_axis(ax.yaxis, low, high, times)
    labels = [(measured.start, f"start {theme.plain(measured.start)}{times}"), (measured.full, f"full {theme.plain(measured.full)}{times}"),
              (measured.ratio, f"you {theme.number(measured.ratio)}{times}")]
    heights = _apart([math.log(value / low) / math.log(high / low) for value, _ in labels], 0.095)
    for (_, label), place in zip(labels, heights, strict=True):
        mine = label.startswith("you")
        ax.annotate(label, (1.015, place), xycoords="axes fraction", va="center", fontsize=10, fontweight="bold" if mine else "normal")
    words = theme.called(measured.versus)
    _title(drawn, f"Speed-up over {words}" if speedup else f"Fraction of {words}")
    return drawn


def _apart(places: list[float], gap: float) -> list[float]:
    """The same places in the same order, moved up and down just so far that neighbours are `gap` apart."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for _ in range(50):
        for below, above in zip(order, order[1:], strict=False):
            if (lack := gap - (moved[above] - moved[below])) > 1e-9:
                moved[below], moved[above] = moved[below] - lack / 2, moved[above] + lack / 2
    return moved


@dataclass(frozen=True)
class Point:
    """A kernel on the roofline: intensity in FLOP per byte of compulsory traffic, speed in GFLOP/s."""

    label: str
    intensity: float
    gflops: float


def _roof(of: Machine | Roofline, threads: int) -> tuple[float, float]:
    """Peak in GFLOP/s and bandwidth in GB/s."""
    if isinstance(of, Machine):
        return of.gemm_gflops(threads), of.bandwidth_gbs(threads)
    return of.peak_gflops, of.bandwidth_gbs


def roofline(points: Iterable[Point | tuple[str, float, float]], machine: Machine | Roofline, threads: int = 1,
             width: float = 3.9, height: float = 2.7) -> Picture:
    """Points under the roof min(peak, intensity × bandwidth) of a machine (Williams, Waterman & Patterson 2009).

    points   Point or (label, FLOP per byte, GFLOP/s); how far the first is up to the roof is said and drawn
    machine  a machine card, read for `threads` threads, or the roofline of a verdict
    height   without the legend, which gets a line for each point below it
    """
    placed = [p if isinstance(p, Point) else Point(*p) for p in points]
    peak, bandwidth = _roof(machine, threads)
    ridge = peak / bandwidth
    xs, ys = [p.intensity for p in placed] + [ridge], [p.gflops for p in placed if p.gflops > 0]
    left, right = min(xs) / 12, max(xs) * 12
    floor, top = min([*ys, peak / 30]) / 2.5, 2.5 * max([*ys, peak])

    drawn, ax = figure(width, height + 0.22 * len(placed))
    ax.plot([left, ridge, right], [left * bandwidth, peak, peak], color=INK)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set(xlim=(left, right), ylim=(floor, top), xlabel="arithmetic intensity (FLOP/byte)", ylabel="speed (GFLOP/s)")
    _log_axis(ax.xaxis, left, right)
    _log_axis(ax.yaxis, floor, top)
    ax.set_title(f"peak {theme.number(peak)} GFLOP/s, memory {theme.number(bandwidth)} GB/s", fontsize=9.5, fontweight="normal", pad=5)
    _marked(drawn, ax, placed, peak, bandwidth)
    _title(drawn, "Under the roof of this machine")
    return drawn


def _marked(drawn: Figure, ax: Axes, placed: list[Point], peak: float, bandwidth: float) -> None:
    """A marker for each point, beside any that it would hide, and a legend; the dotted way up from the first to the roof."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    across, up = 40 * drawn.get_figwidth() / math.log(right / left), 40 * drawn.get_figheight() / math.log(top / bottom)
    marks: list[tuple[float, float]] = []                    # where they stand, in printer's points
    for i, point in enumerate(placed):
        roof, colour, size = min(peak, point.intensity * bandwidth), CYCLE[(1, 0, 2, 3, 4, 5)[i % 6]], 10 if i == 0 else 8
        label = f"{point.label}: {theme.number(point.gflops)} GFLOP/s"
        if i == 0 and point.gflops < roof:
            ax.plot([point.intensity] * 2, [point.gflops, roof], ":", color=colour, linewidth=1.8)
            label += f", {100 * point.gflops / roof:.0f} % of the roof"
        x, y, n = across * math.log(point.intensity), up * math.log(max(point.gflops, bottom)), 0
        while any(abs(x + _beside(n) - u) < 12 and abs(y - v) < 12 for u, v in marks):
            n += 1
        marks.append((x + _beside(n), y))
        moved = offset_copy(ax.transData, drawn, x=_beside(n), units="points")
        ax.plot(point.intensity, point.gflops, "o^sDvP"[i % 6], color=colour, markersize=size, markeredgecolor="white", markeredgewidth=0.8,
                transform=moved, label=label, zorder=3)
    drawn.legend(loc="outside lower left", fontsize=10.5, borderaxespad=0, labelspacing=0.25, handletextpad=0.4)


def _beside(n: int) -> float:
    """The n-th place to try: 0, then 13 points to the right, 13 to the left, 26 to the right, …"""
    return 13.0 * ((n + 1) // 2) * (1 if n % 2 else -1) if n else 0.0
