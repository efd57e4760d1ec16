"""The window that slides over a picture, beside the patch matrix that it fills.

The drawing is made here, once, as SVG. The browser's side (im2col.js) only moves the window and lights cells up, so the static
picture and the moving one cannot differ.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
PIXEL, CELL, ROW = 38, 30, 22              # side of a pixel, width and height of a matrix cell, in drawing units
LEFT, TOP, GAP = 30, 46, 74                # margins, and the room between picture and matrix
MOST = 6000                                # cells of the matrix: more cannot be read, and slow the browser down


def _checked(height: int, width: int, kernel: int, channels: int, values: Any) -> np.ndarray:
    """The picture (H, W, C). Raises ValueError with what would work."""
    if values is not None:
        picture = np.asarray(values)
        picture = picture[:, :, None] if picture.ndim == 2 else picture
        if picture.ndim != 3 or picture.dtype.kind not in "biuf" or not np.isfinite(picture).all():
            raise ValueError(f"values is a picture of finite numbers, (H, W) or (H, W, C); this has shape {np.shape(values)}")
        height, width, channels = picture.shape
    for name, number in (("height", height), ("width", width), ("kernel", kernel), ("channels", channels)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name} is a whole number from 1, not {number!r}")
    if kernel > min(height, width):
        raise ValueError(f"a window of {kernel}×{kernel} does not fit into {height}×{width} pixels: make kernel smaller")
    cells = (height - kernel + 1) * (width - kernel + 1) * kernel**2 * channels
    if cells > MOST or max(height, width) > 28:
        raise ValueError(f"the patch matrix would have {cells} cells; up to {MOST}, and 28 pixels a side, can be drawn and read")
    if values is None:
        picture = np.random.default_rng(4).permutation(np.arange(height * width * channels) % 100).reshape(height, width, channels)
    return picture


def _label(value: Any) -> str:
    return f"{value:d}" if isinstance(value, int | np.integer) else f"{value:.2g}"


def reads(y: int, x: int, height: int, width: int, kernel: int) -> int:
    """How many windows of stride 1 read pixel (y, x)."""
    def along(at: int, length: int) -> int:
        return min(at, length - kernel) - max(0, at - kernel + 1) + 1
    return along(y, height) * along(x, width)


def status(row: int, pixel: tuple[int, int, int] | None, height: int, width: int, kernel: int, channels: int) -> str:
    """The sentence under the picture."""
    columns = width - kernel + 1
    cells, matrix = height * width * channels, (height - kernel + 1) * columns * kernel**2 * channels
    said = [f"Window at ({row // columns}, {row % columns}) → row {row}."]
    if pixel is not None:
        times = reads(pixel[0], pixel[1], height, width, kernel)
        said.append(f"Pixel ({pixel[0]}, {pixel[1]}) is read {times} time{'' if times == 1 else 's'}.")
    said.append(f"Matrix / picture = {matrix} / {cells} = {matrix / cells:.2f}")
    return " ".join(said)


def im2col_svg(height: int = 6, width: int = 6, kernel: int = 3, channels: int = 1, *, values: Any = None, row: int = 0,
               pixel: tuple[int, int, int] | None = None, paper: bool = True) -> str:
    """The picture and its patch matrix as an <svg> element: window position `row` lit up, pixel (y, x, c) marked.

    values  the picture, (H, W) or (H, W, C); random numbers below 100 otherwise
    paper   True: dark on white, for files and slides; False: in the colours of the page around it
    Raises ValueError for sizes that make no picture.
    """
    picture = _checked(height, width, kernel, channels, values)
    return _draw(picture, kernel, row, pixel, paper)


def _box(at: tuple[float, float], side: tuple[int, int], value: Any, shade: float, kind: str, data: str) -> str:
    (x, y), (wide, high) = at, side
    return (f'<g class="{kind}" {data}><rect x="{x}" y="{y}" width="{wide}" height="{high}" style="fill-opacity:{shade:.2f}"/>'
            f'<text x="{x + wide / 2:g}" y="{y + high / 2:g}">{escape(_label(value))}</text></g>')


def _text(kind: str, x: float, y: float, said: object) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{said}</text>'


def _draw(picture: np.ndarray, k: int, row: int, pixel: tuple[int, int, int] | None, paper: bool) -> str:
    h, w, c = picture.shape
    across = w - k + 1
    rows, columns = (h - k + 1) * across, k * k * c
    if not 0 <= row < rows:
        raise ValueError(f"row is 0 to {rows - 1}, not {row}")
    cell = CELL if columns <= 18 else 22
    step = h * PIXEL + 26                                            # channels stand below one another
    right = LEFT + w * PIXEL + GAP
    full_w, full_h = right + columns * cell + 12, max(TOP + c * step, TOP + rows * ROW + 12)
    shades = 0.06 + 0.5 * (picture.astype(float) - float(picture.min())) / (float(np.ptp(picture)) or 1.0)
    r, s = divmod(row, across)

    def box(x: float, y: float, side: tuple[int, int], at: tuple[int, int, int], data: str, on: bool) -> str:
        kind = "cell" + (" on" if on else "") + (" hit" if pixel == at else "")
        return _box((x, y), side, picture[at], float(shades[at]), kind, f'data-{data}="{at[0]},{at[1]},{at[2]}"')

    out = [_text("title", LEFT, 18, f"picture {h}×{w}" + (f"×{c}" if c > 1 else "")),
           _text("title", right, 18, f"patch matrix {rows}×{columns}")]
    out += [_text("axis", LEFT + (x + 0.5) * PIXEL, TOP - 9, x) for x in range(w)]
    out += [_text("axis", right + (n + 0.5) * c * cell, TOP - 9, f"{n // k},{n % k}") for n in range(k * k)]
    for ch in range(c):
        top = TOP + ch * step
        out += [_text("axis", LEFT + w * PIXEL / 2, top + h * PIXEL + 12, f"channel {ch}")] if c > 1 else []
        for y in range(h):
            out.append(_text("axis", LEFT - 13, top + (y + 0.5) * PIXEL, y))
            out += [box(LEFT + x * PIXEL, top + y * PIXEL, (PIXEL, PIXEL), (y, x, ch), "p", r <= y < r + k and s <= x < s + k)
                    for x in range(w)]
    for m in range(rows):
        top = TOP + m * ROW
        out.append(f'<g class="row{" on" if m == row else ""}" data-r="{m}">' + _text("axis", right - 15, top + ROW / 2, m))
        for n in range(columns):
            at = (m // across + n // (k * c), m % across + n // c % k, n % c)
            out.append(box(right + n * cell, top, (cell, ROW), at, "q", m == row))
        out.append("</g>")
    side = f'width="{k * PIXEL}" height="{k * PIXEL}" rx="3"'
    out += [f'<rect class="window" x="{LEFT + s * PIXEL}" y="{TOP + ch * step + r * PIXEL}" {side}/>' for ch in range(c)]
    out.append(f'<rect class="lit" x="{right}" y="{TOP + row * ROW}" width="{columns * cell}" height="{ROW}" rx="3"/><path class="link" '
               f'd="{link(LEFT + (s + k) * PIXEL, TOP + (r + k / 2) * PIXEL, right - 30, TOP + (row + 0.5) * ROW)}"/>')
    size = f'width="{full_w}" height="{full_h}"'
    sheet = f'<style>{(HERE / "im2col.css").read_text(encoding="utf-8")}</style><rect class="sheet" {size}/>' if paper else ""
    kind = "hpml-im2col-svg paper" if paper else "hpml-im2col-svg"
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {full_w} {full_h}" {size} role="img" '
            f'aria-label="{escape(status(row, pixel, h, w, k, c))}" data-geometry="{LEFT},{TOP},{PIXEL},{ROW},{right},{step}">')
    return head + sheet + "".join(out) + "</svg>"


def link(x1: float, y1: float, x2: float, y2: float) -> str:
    """The curve from the window to the row that it becomes."""
    middle = (x1 + x2) / 2
    return f"M{x1:g},{y1:g}C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}"


class Im2col(anywidget.AnyWidget):
    """The widget that `im2col()` makes. `row` is the window's position, `pixel` the marked [y, x, c] or []; both can be set."""

    _esm = HERE / "im2col.js"
    _css = HERE / "im2col.css"
    drawing = traitlets.Unicode().tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)          # H, W, C, k
    row = traitlets.Int(0).tag(sync=True)
    pixel = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(self, picture: np.ndarray, kernel: int) -> None:
        self._picture, self._kernel = picture, kernel
        super().__init__(drawing=_draw(picture, kernel, 0, None, False), shape=[*map(int, picture.shape), int(kernel)])

    @traitlets.validate("row")
    def _row_exists(self, proposal: Any) -> int:
        h, w, _, k = self.shape
        if not 0 <= proposal["value"] < (h - k + 1) * (w - k + 1):
            raise traitlets.TraitError(f"row is 0 to {(h - k + 1) * (w - k + 1) - 1}, not {proposal['value']}")
        return int(proposal["value"])

    @traitlets.validate("pixel")
    def _pixel_exists(self, proposal: Any) -> list[int]:
        at = list(proposal["value"])
        if at and not (len(at) == 3 and all(0 <= a < n for a, n in zip(at, self.shape, strict=False))):
            raise traitlets.TraitError(f"pixel is [y, x, channel] inside of {self.shape[:3]}, or [], not {at}")
        return at

    def _marked(self) -> tuple[int, int, int] | None:
        return (self.pixel[0], self.pixel[1], self.pixel[2]) if self.pixel else None

    def svg(self, paper: bool = True) -> str:
        """What the widget shows now, as a static picture."""
        return _draw(self._picture, self._kernel, self.row, self._marked(), paper)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        h, w, c, k = self.shape
        said = f"im2col of a {h}×{w}×{c} picture, window {k}×{k}. {status(self.row, self._marked(), h, w, k, c)}"
        return {**bundle[0], "image/svg+xml": self.svg(), "text/plain": said}, bundle[1]


def im2col(height: int = 6, width: int = 6, kernel: int = 3, channels: int = 1, *, values: Any = None) -> Im2col:
    """A picture, a window that slides over it with stride 1, and the patch matrix whose rows are the window's positions.

    Drag or hover, or use the arrow keys, to move the window; click on a pixel to see how often it is read.
    values  the picture, (H, W) or (H, W, C), instead of height, width and channels; random numbers below 100 otherwise
    Raises ValueError for sizes that make no picture.
    """
    return Im2col(_checked(height, width, kernel, channels, values), kernel)
