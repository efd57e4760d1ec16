"""Numbers on their way forward, and gradients on their way back, through deep networks that have not learned anything.

Dense layers of 64 neurons with ReLU, random weights, a minibatch of 64 random inputs; blocks of two layers, as in He et al., "Deep Residual
Learning" (2015). Plain or with shortcuts, with batch normalisation or without. NumPy computes all four whenever a slider moves; the browser
shows the drawing.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
WIDTH, BATCH, EPSILON = 64, 64, 1e-5
MOST_LAYERS, LEAST_GAIN, MOST_GAIN = 64, 0.6, 1.4
KINDS = {"plain": "plain", "plain-norm": "plain, normalised", "residual": "residual", "residual-norm": "residual, normalised"}
MARKS = {"plain": "circle", "plain-norm": "square", "residual": "diamond", "residual-norm": "triangle"}
LOW, HIGH = -9.0, 9.0                           # the vertical axis: powers of ten
LEFT, TOP, WIDE, TALL, GAP = 62, 44, 300, 250, 58       # drawing units


@dataclass(frozen=True)
class Signal:
    """Sizes before the first block, between the blocks and behind the last; both relative to where they start."""

    forward: tuple[float, ...]                  # of the numbers, relative to the inputs
    backward: tuple[float, ...]                 # of the gradient, relative to that behind the last block


def _norm(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x with mean 0 and variance 1 in each column, and what the columns were divided by."""
    spread = np.sqrt(x.var(0) + EPSILON)
    return (x - x.mean(0)) / spread, spread


def _norm_back(dy: np.ndarray, y: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The gradient through `_norm`: without its mean and without its part along y, which the division takes away."""
    return np.asarray((dy - dy.mean(0) - y * (dy * y).mean(0)) / spread)


def _layer(x: np.ndarray, w: np.ndarray, normal: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    z = x @ w
    if not normal:
        return z, z, None
    y, spread = _norm(z)
    return y, y, spread


@functools.lru_cache(maxsize=256)
def signal(kind: str, layers: int, gain: float, seed: int = 5) -> Signal:
    """Forward and backward through `layers` layers (an even number).

    kind  "plain" or "residual", with "-norm" behind it for batch normalisation
    gain  size of the weights: 1 is He's, a spread of sqrt(2 / inputs), which keeps a plain ReLU layer's numbers in size
    """
    rng, normal, shortcut = np.random.default_rng(seed), kind.endswith("-norm"), kind.startswith("residual")
    x, steps = rng.standard_normal((BATCH, WIDTH)), []
    sizes = [float(np.sqrt((x**2).mean()))]
    for _ in range(layers // 2):
        w1, w2 = (gain * math.sqrt(2 / WIDTH) * rng.standard_normal((WIDTH, WIDTH)) for _ in range(2))
        y1, kept1, spread1 = _layer(x, w1, normal)
        y2, kept2, spread2 = _layer(np.maximum(y1, 0), w2, normal)
        total = y2 + x if shortcut else y2
        x = np.maximum(total, 0)
        steps.append((w1, kept1, spread1, w2, kept2, spread2, total))
        sizes.append(float(np.sqrt((x**2).mean())))
    g = rng.standard_normal(x.shape)
    back = [float(np.sqrt((g**2).mean()))]
    for w1, kept1, spread1, w2, kept2, spread2, total in reversed(steps):
        g = g * (total > 0)
        d = _norm_back(g, kept2, spread2) if spread2 is not None else g
        d = (d @ w2.T) * (kept1 > 0)
        d = _norm_back(d, kept1, spread1) if spread1 is not None else d
        d = d @ w1.T
        g = d + g if shortcut else d
        back.append(float(np.sqrt((g**2).mean())))
    return Signal(tuple(s / sizes[0] for s in sizes), tuple(b / back[0] for b in reversed(back)))


def _checked(layers: int, gain: float) -> tuple[int, float]:
    """Both, rounded as the sliders are. Raises ValueError with what would work."""
    if not (isinstance(layers, int) and 2 <= layers <= MOST_LAYERS and layers % 2 == 0):
        raise ValueError(f"layers is an even number from 2 to {MOST_LAYERS}, not {layers!r}")
    if not (isinstance(gain, int | float) and LEAST_GAIN <= gain <= MOST_GAIN):
        raise ValueError(f"gain is a number from {LEAST_GAIN} to {MOST_GAIN}, not {gain!r}")
    return layers, round(float(gain), 2)


def say(value: float) -> str:
    """A ratio in words: 0.03, 1.7, 12 or 3·10⁵."""
    if not value > 0:
        return "0"
    if 0.001 <= value < 1000:
        return f"{value:.2g}" if value < 100 else f"{value:.0f}"
    power = math.floor(math.log10(value))
    digits = round(value / 10.0**power)
    power, digits = (power + 1, 1) if digits == 10 else (power, digits)
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == 1 else f"{digits}·10{raised}"


def status(layers: int, gain: float) -> str:
    """The sentence under the picture."""
    layers, gain = _checked(layers, gain)
    found = ", ".join(f"{words} {say(signal(kind, layers, gain).backward[0])}" for kind, words in KINDS.items())
    return f"{layers} layers, weights of {gain:g}. A gradient of 1 behind the last layer has this size before the first: {found}."


def _mark(kind: str, x: float, y: float) -> str:
    points = {"square": ((-4, -4), (4, -4), (4, 4), (-4, 4)), "diamond": ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
              "triangle": ((0, -5.5), (5, 4), (-5, 4))}
    shape = MARKS[kind]
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    return f'<path class="mark" d="M{"L".join(f"{x + a:.1f},{y + b:.1f}" for a, b in points[shape])}Z"/>'


def _height(value: float) -> float:
    power = math.log10(value) if value > 0 else LOW
    return TOP + TALL * (HIGH - min(max(power, LOW), HIGH)) / (HIGH - LOW)


def _panel(left: float, title: str, layers: int, curves: dict[str, tuple[float, ...]]) -> list[str]:
    out = [f'<text class="title" x="{left}" y="{TOP - 14}">{title}</text>']
    for power in range(int(LOW), int(HIGH) + 1, 3):
        y = _height(10.0**power)
        out.append(f'<path class="{"one" if power == 0 else "grid"}" d="M{left},{y:.1f}H{left + WIDE}"/>'
                   f'<text class="tick left" x="{left - 7}" y="{y:.1f}">{say(10.0**power) if power else "1"}</text>')
    for place in sorted({0, layers // 2 // 2 * 2, layers}):
        out.append(f'<text class="tick" x="{left + WIDE * place / layers:.1f}" y="{TOP + TALL + 15}">{place}</text>')
    out.append(f'<text class="axis" x="{left + WIDE / 2}" y="{TOP + TALL + 36}">layers from the input</text>')
    for n, (kind, values) in enumerate(curves.items()):
        places = [(left + WIDE * i / (len(values) - 1), _height(v)) for i, v in enumerate(values)]
        every = max(1, len(places) // 5)
        marks = "".join(_mark(kind, x, y) for i, (x, y) in enumerate(places) if i % every == n % every or len(places) < 5)
        line = "L".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<g class="{kind}"><path class="line" d="M{line}"/>{marks}</g>')
    return out


def depth_svg(layers: int = 32, gain: float = 1.0, *, paper: bool = True) -> str:
    """Both panels as an <svg> element: numbers forward, gradients backward, four kinds of network.

    layers, gain  depth, an even number up to 64, and size of the weights, 0.6 to 1.4 (1 is He's)
    paper         True: dark on white, for files and slides; False: in the colours of the page around it
    Raises ValueError for other numbers.
    """
    layers, gain = _checked(layers, gain)
    found = {kind: signal(kind, layers, gain) for kind in KINDS}
    full_w, full_h = LEFT + 2 * WIDE + GAP + 22, TOP + TALL + 76
    out = _panel(LEFT, "forward: size of the numbers", layers, {kind: s.forward for kind, s in found.items()})
    out += _panel(LEFT + WIDE + GAP, "backward: size of the gradient", layers, {kind: s.backward for kind, s in found.items()})
    x = float(LEFT)
    for kind, words in KINDS.items():
        out.append(f'<g class="{kind}"><path class="line" d="M{x},{full_h - 18}h26"/>{_mark(kind, x + 13, full_h - 18)}</g>'
                   f'<text class="key" x="{x + 33}" y="{full_h - 18}">{words}</text>')
        x += 62 + 8.2 * len(words)
    sheet = f'<style>{(HERE / "depth.css").read_text(encoding="utf-8")}</style><rect class="sheet" width="{full_w}" height="{full_h}"/>'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="hpml-depth-svg{" paper" if paper else ""}" viewBox="0 0 {full_w} {full_h}" '
            f'width="{full_w}" height="{full_h}" role="img" aria-label="{status(layers, gain)}">'
            + (sheet if paper else "") + "".join(out) + "</svg>")


class Depth(anywidget.AnyWidget):
    """The widget that `depth()` makes. `layers` and `gain` can be set; `drawing` and `said` follow."""

    _esm = HERE / "depth.js"
    _css = HERE / "depth.css"
    layers = traitlets.Int(32).tag(sync=True)
    gain = traitlets.Float(1.0).tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)

    def __init__(self, layers: int, gain: float) -> None:
        super().__init__(layers=layers, gain=gain)
        self._draw()

    @traitlets.observe("layers", "gain")
    def _draw(self, _: Any = None) -> None:
        self.drawing = depth_svg(self.layers, self.gain, paper=False)
        self.said = status(self.layers, self.gain)

    @traitlets.validate("layers")
    def _even(self, proposal: Any) -> int:
        return min(MOST_LAYERS, max(2, int(proposal["value"]) // 2 * 2))

    @traitlets.validate("gain")
    def _in_range(self, proposal: Any) -> float:
        return round(min(MOST_GAIN, max(LEAST_GAIN, float(proposal["value"]))), 2)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        return {**bundle[0], "image/svg+xml": depth_svg(self.layers, self.gain), "text/plain": self.said}, bundle[1]


def depth(layers: int = 32, gain: float = 1.0) -> Depth:
    """Numbers forward and gradients backward through networks that have not learned yet, with sliders for depth and weights.

    layers  an even number, 2 to 64
    gain    size of the random weights, 0.6 to 1.4; 1 is He's, which suits plain ReLU layers
    Raises ValueError for other numbers.
    """
    return Depth(*_checked(layers, gain))
