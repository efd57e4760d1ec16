"""The roofline of a machine with a point that can be moved under it.

The drawing is made here, once, as SVG; roofline.js moves the point and the roof by the same formulas, so the static picture and the
moving one cannot differ. The model is that of Williams, Waterman & Patterson, "Roofline", CACM 2009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

HERE = Path(__file__).parent
LEFT, TOP, WIDE, HIGH = 64, 26, 560, 318        # the field of the plot, in drawing units
LEAST, MOST = 1 / 16, 1024.0                    # FLOP per byte: the ends of the axis
KERNELS = {"axpy": 2 / 12, "matrix × vector": 2 / 4, "dense, batch 32": 15.5, "dense, 512": 2 * 512 / 12}
MORE = ("", "bandwidth", "peak")


def say(value: float) -> str:
    """Three digits that matter, as roofline.js writes them, too."""
    return f"{float(f'{value:.3g}'):.10g}"


def roof(intensity: float, peak: float, bandwidth: float) -> float:
    """The attainable speed, GFLOP/s: min(peak, intensity × bandwidth)."""
    return min(peak, intensity * bandwidth)


def status(intensity: float, speed: float, peak: float, bandwidth: float, more: str = "") -> str:
    """The sentences under the picture, for the machine as it is or with twice the bandwidth or peak."""
    peak, bandwidth = peak * (1 + (more == "peak")), bandwidth * (1 + (more == "bandwidth"))
    top = roof(intensity, peak, bandwidth)
    limit = "memory" if intensity < peak / bandwidth else "arithmetic"
    said = f"{say(intensity)} FLOP/byte: {limit} is the limit, at {say(top)} GFLOP/s. "
    if speed > 1.005 * top:
        return said + f"The point is at {say(speed)}: above the roof. Nothing gets there, unless its bytes come from a cache."
    return said + f"The point is at {say(speed)}: {say(100 * speed / top)} % of it."


def _checked(peak: float | None, bandwidth: float | None, kernels: Mapping[str, float] | None) -> tuple[float, float, dict[str, float]]:
    """Peak, bandwidth and kernels; from the machine card where they are not given. Raises ValueError with what would work."""
    if peak is None or bandwidth is None:
        from hpml.machine import card
        peak, bandwidth = peak or card().gemm_gflops(1), bandwidth or card().bandwidth_gbs(1)
    for name, value in (("peak", peak), ("bandwidth", bandwidth)):
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise ValueError(f"{name} is a positive number, not {value!r}: GFLOP/s and GB/s")
    if not LEAST * 2 < peak / bandwidth < MOST / 2:
        raise ValueError(f"the ridge point {say(peak / bandwidth)} FLOP/byte is outside of the picture: is one of the two in other units?")
    chosen = dict(KERNELS if kernels is None else kernels)
    for name, value in chosen.items():
        if not (isinstance(value, int | float) and LEAST <= value <= MOST):
            raise ValueError(f"the intensity of {name!r} is {say(LEAST)} to {say(MOST)} FLOP per byte, not {value!r}")
    return float(peak), float(bandwidth), chosen


class _Field:
    """Where intensity and speed lie in the drawing."""

    def __init__(self, peak: float, bandwidth: float) -> None:
        self.bottom, self.top = LEAST * bandwidth / 8, 5 * peak

    def x(self, intensity: float) -> float:
        return LEFT + WIDE * math.log(intensity / LEAST) / math.log(MOST / LEAST)

    def y(self, speed: float) -> float:
        return TOP + HIGH * math.log(self.top / speed) / math.log(self.top / self.bottom)

    def path(self, peak: float, bandwidth: float) -> str:
        ends = ((LEAST, LEAST * bandwidth), (peak / bandwidth, peak), (MOST, peak))
        return "M" + "L".join(f"{self.x(i):.1f},{self.y(s):.1f}" for i, s in ends)


def roofline_svg(peak: float | None = None, bandwidth: float | None = None, *, intensity: float = 1.0, speed: float | None = None,
                 kernels: Mapping[str, float] | None = None, more: str = "", paper: bool = True) -> str:
    """The roofline as an <svg> element, with a point at `intensity` (FLOP per byte) and `speed` (GFLOP/s; default: half of the roof).

    peak, bandwidth  GFLOP/s and GB/s; default: one thread of this machine
    kernels          names and intensities to mark on the axis
    more             "bandwidth" or "peak": the roof with twice of it is drawn, dashed
    paper            True: dark on white, for files and slides; False: in the colours of the page around it
    Raises ValueError for numbers that make no picture.
    """
    peak, bandwidth, chosen = _checked(peak, bandwidth, kernels)
    at = roof(intensity, peak, bandwidth) / 2 if speed is None else speed
    return _draw(peak, bandwidth, chosen, intensity, at, more, paper)


def _ticks(low: float, high: float) -> list[float]:
    return [10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _draw(peak: float, bandwidth: float, kernels: Mapping[str, float], intensity: float, speed: float, more: str, paper: bool) -> str:
    field, right, base = _Field(peak, bandwidth), LEFT + WIDE, TOP + HIGH
    now = {"peak": peak * (1 + (more == "peak")), "bandwidth": bandwidth * (1 + (more == "bandwidth"))}
    top, x, y = roof(intensity, **now), field.x(intensity), field.y(speed)
    out = []
    for value in _ticks(LEAST, MOST):
        out.append(f'<path class="grid" d="M{field.x(value):.1f},{TOP}V{base}"/><text class="tick" x="{field.x(value):.1f}" '
                   f'y="{base + 15}">{say(value)}</text>')
    for value in _ticks(field.bottom, field.top):
        out.append(f'<path class="grid" d="M{LEFT},{field.y(value):.1f}H{right}"/><text class="tick left" x="{LEFT - 8}" '
                   f'y="{field.y(value):.1f}">{say(value)}</text>')
    ridge = peak / bandwidth
    slope = math.degrees(math.atan2(field.y(LEAST * bandwidth) - field.y(peak), field.x(ridge) - field.x(LEAST)))
    middle = math.sqrt(LEAST * ridge)
    mx, my = field.x(middle), field.y(middle * bandwidth) - 24
    out += [f'<path class="under" d="{field.path(peak, bandwidth)}V{base}H{LEFT}Z"/>',
            f'<path class="more" d="{field.path(**now) if more else ""}"/>', f'<path class="roof" d="{field.path(peak, bandwidth)}"/>',
            f'<text class="name" x="{mx:.1f}" y="{my:.1f}" transform="rotate({-slope:.1f} {mx:.1f} {my:.1f})">memory: {say(bandwidth)} GB/s'
            '</text>', f'<text class="name" x="{field.x(math.sqrt(ridge * MOST)):.1f}" y="{field.y(peak) - 13:.1f}">'
                       f"arithmetic: {say(peak)} GFLOP/s</text>",
            f'<path class="ridge" d="M{field.x(ridge):.1f},{field.y(peak):.1f}V{base}"/>'
            f'<text class="tick right" x="{field.x(ridge) + 6:.1f}" y="{base - 11}">ridge {say(ridge)}</text>']
    for n, (name, value) in enumerate(kernels.items()):
        out.append(f'<path class="kernel" d="M{field.x(value):.1f},{base - 5}v10"/><text class="kernel" x="{field.x(value):.1f}" '
                   f'y="{base + 32 + 15 * (n % 2)}">{escape(name)}</text>')
    out += [f'<path class="up" d="M{x:.1f},{y:.1f}V{field.y(top):.1f}"/><circle class="aim" cx="{x:.1f}" cy="{field.y(top):.1f}" r="4"/>',
            f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="9"/>',
            f'<text class="axis" x="{LEFT + WIDE / 2:g}" y="{base + 68}">work per byte of memory traffic, FLOP/byte</text>',
            f'<text class="axis" x="14" y="{TOP + HIGH / 2:g}" transform="rotate(-90 14 {TOP + HIGH / 2:g})">speed, GFLOP/s</text>']
    full_w, full_h = right + 24, base + 80
    sheet = ""
    if paper:
        style = (HERE / "roofline.css").read_text(encoding="utf-8")
        sheet = f'<style>{style}</style><rect class="sheet" width="{full_w}" height="{full_h}"/>'
    geometry = ",".join(f"{v:.8g}" for v in (LEFT, TOP, WIDE, HIGH, LEAST, MOST, field.bottom, field.top))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="hpml-roofline-svg{" paper" if paper else ""}" viewBox="0 0 {full_w} {full_h}" '
            f'width="{full_w}" height="{full_h}" role="img" aria-label="{escape(status(intensity, speed, peak, bandwidth, more))}" '
            f'data-geometry="{geometry}">{sheet}{"".join(out)}</svg>')


class Roofline(anywidget.AnyWidget):
    """The widget that `roofline()` makes. `intensity`, `speed` and `more` say where the point is and which roof it is under."""

    _esm = HERE / "roofline.js"
    _css = HERE / "roofline.css"
    drawing = traitlets.Unicode().tag(sync=True)
    machine = traitlets.List(traitlets.Float()).tag(sync=True)              # peak GFLOP/s, bandwidth GB/s
    kernels: Any = traitlets.List().tag(sync=True)                          # [name, FLOP per byte]
    intensity = traitlets.Float(1.0).tag(sync=True)
    speed = traitlets.Float(1.0).tag(sync=True)
    more = traitlets.Enum(MORE, "").tag(sync=True)

    def __init__(self, peak: float, bandwidth: float, kernels: Mapping[str, float]) -> None:
        start = roof(1.0, peak, bandwidth) / 2
        super().__init__(drawing=_draw(peak, bandwidth, kernels, 1.0, start, "", False), machine=[peak, bandwidth],
                         kernels=[[name, value] for name, value in kernels.items()], speed=start)

    @traitlets.validate("intensity", "speed")
    def _on_the_field(self, proposal: Any) -> float:
        value, name = float(proposal["value"]), proposal["trait"].name
        low, high = LEAST, MOST
        if name == "speed":
            peak, bandwidth = self.machine
            field = _Field(peak, bandwidth)
            low, high = 0.999 * field.bottom, 1.001 * field.top         # the browser computes them from rounded ends
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} is {say(low)} to {say(high)}, not {value:g}")
        return value

    def svg(self, paper: bool = True) -> str:
        """What the widget shows now, as a static picture."""
        peak, bandwidth = self.machine
        return _draw(peak, bandwidth, dict(self.kernels), self.intensity, self.speed, self.more, paper)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        peak, bandwidth = self.machine
        said = f"Roofline. {status(self.intensity, self.speed, peak, bandwidth, self.more)}"
        return {**bundle[0], "image/svg+xml": self.svg(), "text/plain": said}, bundle[1]


def roofline(peak: float | None = None, bandwidth: float | None = None, *, kernels: Mapping[str, float] | None = None) -> Roofline:
    """A roofline with a point to move: drag it, or use the arrow keys; buttons double the bandwidth or the peak.

    peak, bandwidth  GFLOP/s and GB/s; default: one thread of this machine
    kernels          names and intensities in FLOP per byte to jump to
    Raises ValueError for numbers that make no picture.
    """
    return Roofline(*_checked(peak, bandwidth, kernels))
