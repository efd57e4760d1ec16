"""What one number deep inside a network has read: a picture, the layers above it, and the field of one number in all of them.

The drawing is made here, as SVG, whenever the stack of layers changes. The browser's side (receptive_field.js) only moves the
frames, so the static picture and the moving one cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
PIXEL, GAP, LEFT, TOP, BELOW, TITLE = 7.0, 14, 8, 34, 30, 118.0      # a pixel's side, room between maps and around them, in drawing units
MOST_LAYERS, MOST_PIXELS = 6, 40
WINDOWS, STRIDES = range(1, 8), range(1, 4)


def sides(layers: Sequence[Sequence[int]], side: int) -> list[int]:
    """Rows of the picture and of the output of each layer (window, stride), without borders.

    Raises ValueError where a window does not fit any more.
    """
    found = [side]
    for n, (k, s) in enumerate(layers, 1):
        if found[-1] < k:
            raise ValueError(f"layer {n} has a window of {k}, but only {found[-1]}×{found[-1]} numbers come to it: make a window or a "
                             "stride before it smaller")
        found.append((found[-1] - k) // s + 1)
    return found


def spans(layers: Sequence[Sequence[int]], layer: int, at: int) -> list[tuple[int, int]]:
    """First and last index that number `at` of the output of `layer` reads in the picture and in each layer up to its own."""
    low = high = at
    found = [(low, high)]
    for k, s in reversed(list(layers)[:layer]):
        low, high = low * s, high * s + k - 1
        found.append((low, high))
    return found[::-1]


def status(layers: Sequence[Sequence[int]], layer: int, at: Sequence[int]) -> str:
    """The sentence under the picture."""
    (top, bottom), (left, right) = spans(layers, layer, at[0])[0], spans(layers, layer, at[1])[0]
    step = int(np.prod([s for _, s in list(layers)[:layer]], dtype=int))
    if layer == 0:
        return f"Pixel ({at[0]}, {at[1]}) of the picture: it has seen itself."
    return (f"Layer {layer}, number ({at[0]}, {at[1]}) has seen {bottom - top + 1}×{right - left + 1} pixels, from row {top} and column "
            f"{left} on; its neighbour begins {step} pixel{'' if step == 1 else 's'} further.")


def _checked(layers: Any, picture: Any, side: int) -> tuple[list[list[int]], np.ndarray]:
    """Layers as lists and the picture (H, H), 0 to 1. Raises ValueError with what would work."""
    try:
        stack = [[int(k), int(s)] for k, s in layers]
    except (TypeError, ValueError):
        raise ValueError(f"layers is a list of (window, stride), such as [(5, 1), (2, 2)], not {layers!r}") from None
    if not 1 <= len(stack) <= MOST_LAYERS:
        raise ValueError(f"from 1 to {MOST_LAYERS} layers can be drawn, not {len(stack)}")
    if any(k not in WINDOWS or s not in STRIDES for k, s in stack):
        raise ValueError(f"windows are {WINDOWS[0]} to {WINDOWS[-1]}, strides {STRIDES[0]} to {STRIDES[-1]}; this is {stack}")
    if picture is None:
        rows, columns = np.mgrid[:side, :side] / max(side - 1, 1) - 0.5
        values = np.exp(-8 * (rows**2 + columns**2))
    else:
        values = np.asarray(picture, float)
        values = values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not 1 <= len(values) <= MOST_PIXELS or not np.isfinite(values).all():
        raise ValueError(f"the picture is square, up to {MOST_PIXELS} pixels a side, all finite; this has shape {np.shape(values)}")
    sides(stack, len(values))
    return stack, (values - values.min()) / (float(np.ptp(values)) or 1.0)


def middle(layers: Sequence[Sequence[int]], side: int) -> list[int]:
    """Layer, row and column of the number in the middle of the last layer."""
    last = sides(layers, side)[-1]
    return [len(layers), last // 2, last // 2]


def _cell(n: int) -> float:
    """Side of a number in a map: smaller maps have larger numbers, so that they can be pointed at."""
    return max(PIXEL, min(16.0, 70 / n))


def _draw(layers: Sequence[Sequence[int]], picture: np.ndarray, layer: int, at: Sequence[int], paper: bool) -> str:
    side = sides(layers, len(picture))
    if not (0 <= layer < len(side) and all(0 <= a < side[layer] for a in at)):
        raise ValueError(f"layer is 0 to {len(layers)}, and its number lies inside of {side}; not {layer}, {list(at)}")
    tall = max(n * _cell(n) for n in side)
    full_h = TOP + tall + BELOW
    out: list[str] = []
    x = float(LEFT)
    places = []
    for n, count in enumerate(side):
        cell = _cell(count)
        wide, y = count * cell, TOP + (tall - count * cell) / 2
        spare = max(0.0, TITLE - wide) / 2 if n else 0.0              # room for the title over a narrow map
        x += spare
        places.append(f"{x:g},{y:g},{cell:g},{count}")
        out.append(f'<g class="map" data-layer="{n}"><rect class="back" x="{x:g}" y="{y:g}" width="{wide:g}" height="{wide:g}"/>')
        if n == 0:
            out += [f'<rect class="ink" x="{x + c * cell:g}" y="{y + r * cell:g}" width="{cell:g}" height="{cell:g}" '
                    f'style="fill-opacity:{picture[r, c]:.2f}"/>' for r, c in np.argwhere(picture > 0.04)]
        lines = "".join(f"M{x + i * cell:g},{y:g}v{wide:g}M{x:g},{y + i * cell:g}h{wide:g}" for i in range(count + 1))
        out.append(f'<path class="grid" d="{lines}"/></g>')
        said = "picture" if n == 0 else f"window {layers[n - 1][0]}, stride {layers[n - 1][1]}"
        centre = x + wide / 2
        out.append(f'<text class="title" x="{centre:g}" y="{y - 12:g}">{said}</text>'
                   f'<text class="axis" x="{centre:g}" y="{y + wide + 14:g}">{count}×{count}</text>')
        x += wide + spare + GAP
    for n, place in enumerate(places):
        left, y, cell, _ = (float(v) for v in place.split(","))
        (top, bottom), (first, last) = (spans(layers, layer, a)[n] if n <= layer else (0, -1) for a in at)
        hidden = ' visibility="hidden"' if n > layer else ""
        kind = "frame own" if n == layer else "frame"
        out.append(f'<rect class="{kind}" data-frame="{n}" x="{left + first * cell:g}" y="{y + top * cell:g}" '
                   f'width="{(last - first + 1) * cell:g}" height="{(bottom - top + 1) * cell:g}" rx="2"{hidden}/>')
    full_w = x - GAP + LEFT
    size = f'width="{full_w:g}" height="{full_h:g}"'
    sheet = f'<style>{(HERE / "receptive_field.css").read_text(encoding="utf-8")}</style><rect class="sheet" {size}/>' if paper else ""
    kind = "hpml-field-svg paper" if paper else "hpml-field-svg"
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {full_w:g} {full_h:g}" {size} role="img" '
            f'aria-label="{escape(status(layers, layer, at))}" data-places="{" ".join(places)}">')
    return head + sheet + "".join(out) + "</svg>"


def receptive_field_svg(layers: Sequence[Sequence[int]] = ((5, 1), (2, 2), (5, 1), (2, 2)), *, picture: Any = None, side: int = 28,
                        at: Sequence[int] | None = None, paper: bool = True) -> str:
    """A picture, the maps that a stack of layers makes of it, and what one number has read in all of them, as an <svg> element.

    layers  (window, stride) of each layer; there are no borders
    picture a square of numbers; a blurred point otherwise, `side` pixels wide
    at      [layer, row, column] of the number; the one in the middle of the last layer otherwise
    paper   True: dark on white, for files and slides; False: in the colours of the page around it
    Raises ValueError for a stack that does not fit.
    """
    stack, values = _checked(layers, picture, side)
    layer, *place = at if at is not None else middle(stack, len(values))
    return _draw(stack, values, layer, place, paper)


class ReceptiveField(anywidget.AnyWidget):
    """The widget that `receptive_field()` makes. `layers` is the stack, `at` the chosen [layer, row, column]; both can be set."""

    _esm = HERE / "receptive_field.js"
    _css = HERE / "receptive_field.css"
    drawing = traitlets.Unicode().tag(sync=True)
    layers = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    at = traitlets.List(traitlets.Int()).tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)                  # why a wanted stack is not drawn
    wanted = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)

    def __init__(self, layers: list[list[int]], picture: np.ndarray) -> None:
        self._picture = picture
        at = middle(layers, len(picture))
        super().__init__(drawing=_draw(layers, picture, at[0], at[1:], False), layers=layers, at=at, wanted=layers)

    @traitlets.observe("wanted")
    def _asked(self, change: Any) -> None:
        """The browser asks for another stack: draw it, or say why not."""
        try:
            stack, _ = _checked(change["new"], self._picture, 0)
        except ValueError as error:
            self.problem = str(error)
            return
        at = middle(stack, len(self._picture))
        with self.hold_trait_notifications():
            self.problem, self.layers, self.at = "", stack, at
            self.drawing = _draw(stack, self._picture, at[0], at[1:], False)

    def svg(self, paper: bool = True) -> str:
        """What the widget shows now, as a static picture."""
        return _draw(self.layers, self._picture, self.at[0], self.at[1:], paper)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        said = f"Receptive field. {status(self.layers, self.at[0], self.at[1:])}"
        return {**bundle[0], "image/svg+xml": self.svg(), "text/plain": said}, bundle[1]


def receptive_field(layers: Sequence[Sequence[int]] = ((5, 1), (2, 2), (5, 1), (2, 2)), *, picture: Any = None,
                    side: int = 28) -> ReceptiveField:
    """A picture, the maps that a stack of layers makes of it, and what one number has read in all of them.

    Point at a number of any map, or move with the arrow keys; change windows and strides with the boxes below the maps.
    layers  (window, stride) of each layer; there are no borders
    picture a square of numbers; a blurred point otherwise, `side` pixels wide
    Raises ValueError for a stack that does not fit.
    """
    return ReceptiveField(*_checked(layers, picture, side))
