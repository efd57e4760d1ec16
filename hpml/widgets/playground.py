"""A network that learns while you watch: two inputs, one hidden layer, a border between blue and orange.

The browser computes everything (playground.js), so that it needs no kernel while it plays. What stands here are the settings, and the
same network in NumPy for a static picture where no widget runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
REACH, POINTS, BATCH = 1.15, 240, 16
MOST = 16
NAMES = {"clouds": "Two clouds", "ring": "Ring", "corners": "Four corners", "spiral": "Spiral"}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)


def _checked(data: Any, hidden: Any, rate: Any) -> tuple[str, int, float]:
    if data not in NAMES:
        raise ValueError(f"data is one of {', '.join(NAMES)}, not {data!r}")
    if isinstance(hidden, bool) or not isinstance(hidden, int | np.integer) or not 1 <= hidden <= MOST:
        raise ValueError(f"hidden is a whole number from 1 to {MOST}, not {hidden!r}")
    if rate not in RATES:
        raise ValueError(f"rate is one of {', '.join(map(str, RATES))}, not {rate!r}")
    return str(data), int(hidden), float(rate)


def sample(data: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (240, 2) and their labels (240,), 0 blue and 1 orange, in turns."""
    y = np.arange(POINTS) % 2
    u, v = rng.random((2, POINTS))
    noise = rng.standard_normal((POINTS, 2))
    if data == "clouds":
        return np.where(y[:, None] == 1, 1, -1) * np.array([0.45, 0.35]) + 0.2 * noise, y
    if data == "ring":
        turn, far = 2 * np.pi * u, np.where(y == 1, 0.85 + 0.07 * noise[:, 0], 0.42 * np.sqrt(v))
        return np.stack([far * np.cos(turn), far * np.sin(turn)], 1), y
    if data == "corners":
        flip = rng.choice([-1, 1], POINTS)
        return np.stack([flip * (0.08 + 0.85 * u), np.where(y == 1, flip, -flip) * (0.08 + 0.85 * v)], 1), y
    t = np.sqrt(u)
    turn = 2.5 * np.pi * t + y * np.pi
    return 0.95 * t[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1) + 0.02 * noise, y


class Net:
    """2 → hidden → 1 with one ReLU; the score is the log-odds of orange."""

    def __init__(self, hidden: int, rng: np.random.Generator) -> None:
        self.w, self.b = rng.standard_normal((2, hidden)), np.zeros(hidden)
        self.v, self.c = rng.standard_normal(hidden) * (2 / hidden) ** 0.5, 0.0

    def score(self, x: np.ndarray) -> np.ndarray:
        """Scores (...,) of points (..., 2)."""
        found: np.ndarray = np.maximum(x @ self.w + self.b, 0) @ self.v + self.c
        return found

    def step(self, x: np.ndarray, y: np.ndarray, rate: float) -> None:
        """Forward, backward, update on one minibatch."""
        h = np.maximum(x @ self.w + self.b, 0)
        dz = (1 / (1 + np.exp(-(h @ self.v + self.c))) - y) / len(y)
        dh = np.outer(dz, self.v) * (h > 0)
        self.v -= rate * (h.T @ dz)
        self.c -= rate * float(dz.sum())
        self.w -= rate * (x.T @ dh)
        self.b -= rate * dh.sum(0)

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """Mean cross-entropy."""
        return float(np.logaddexp(0, np.where(y == 1, -1, 1) * self.score(x)).mean())


def learn(data: str, hidden: int, rate: float, seed: int, steps: int = 3000) -> tuple[Net, np.ndarray, np.ndarray, list[float]]:
    """The network after some steps, its points and labels, and the loss after every thirtieth step."""
    rng = np.random.default_rng(seed)
    x, y = sample(data, rng)
    net, losses = Net(hidden, rng), []
    for step in range(steps):
        if step % 30 == 0:
            losses.append(net.loss(x, y))
        some = rng.integers(0, POINTS, BATCH)
        net.step(x[some], y[some], rate)
    return net, x, y, losses


def _drawn(data: str, hidden: int, rate: float, seed: int) -> tuple[str, str]:
    """The static picture as SVG for paper, and its sentence."""
    from matplotlib.colors import LinearSegmentedColormap

    from hpml import plots

    net, x, y, losses = learn(data, hidden, rate, seed)
    right = float(((net.score(x) > 0) == (y == 1)).mean())
    said = f"{NAMES[data]}, {hidden} hidden neuron{'' if hidden == 1 else 's'}: after 3000 steps {right:.0%} of {POINTS} points are right."
    colours = LinearSegmentedColormap.from_list("sides", ["#4093c5", "#ffffff", "#e5a040"])
    there = np.linspace(-REACH, REACH, 90)
    plane = np.stack(np.meshgrid(there, there), -1)
    picture, axes = plots.figure(8.4, 3.1, columns=2, width_ratios=[1, 1.5])
    axes[0].imshow(np.tanh(net.score(plane) / 2), cmap=colours, vmin=-1, vmax=1, extent=(-REACH, REACH, -REACH, REACH), origin="lower")
    for label, mark, colour in ((0, "o", "#0072b2"), (1, "D", "#de8200")):
        axes[0].plot(*x[y == label].T, mark, ms=4.5, color=colour, mec="white", mew=0.5)
    for k in range(hidden):
        (a, b), c = net.w[:, k], net.b[k]
        if (size := a * a + b * b) > 1e-12:
            foot, way = -c * net.w[:, k] / size, np.array([-b, a]) / size**0.5 * 4
            axes[0].plot(*np.stack([foot - way, foot + way]).T, color="#000000", alpha=0.3, lw=1)
    axes[0].set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), title="what it takes the plane for")
    axes[0].set_xticks([])
    axes[0].set_yticks([])
    axes[1].plot(np.arange(len(losses)) * 30, losses, color="#d55e00")
    axes[1].set(xlabel="step", ylabel="loss", ylim=(0, None), title=said.split(": ", 1)[1].removesuffix("."))
    axes[1].title.set_fontsize(10)
    return plots.svg(picture, said, paper=True), said


def playground_svg(data: str = "ring", hidden: int = 4, rate: float = 0.1, seed: int = 1) -> str:
    """A trained network as an <svg> element, dark on white: its plane, its neurons' lines, its loss. Raises ValueError as `playground`."""
    return _drawn(*_checked(data, hidden, rate), seed)[0]


class Playground(anywidget.AnyWidget):
    """The widget that `playground()` makes. `data`, `hidden`, `rate` and `seed` can be set; all but `rate` begin anew."""

    _esm = HERE / "playground.js"
    _css = HERE / "playground.css"
    data = traitlets.Enum(list(NAMES), "ring").tag(sync=True)
    hidden = traitlets.Int(4, min=1, max=MOST).tag(sync=True)
    rate = traitlets.Enum(list(RATES), 0.1).tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        svg, said = _drawn(self.data, self.hidden, self.rate, self.seed)
        return {**bundle[0], "image/svg+xml": svg, "text/plain": said}, bundle[1]


def playground(data: str = "ring", hidden: int = 4, rate: float = 0.1, seed: int = 1) -> Playground:
    """Points of two colours, and a network with one hidden layer that learns to tell them apart while you watch.

    data    clouds, ring, corners or spiral
    hidden  neurons in the hidden layer, 1 to 16
    rate    length of a step: 0.01, 0.03, 0.1, 0.3 or 1
    seed    of the random beginning
    Raises ValueError for anything else.
    """
    data, hidden, rate = _checked(data, hidden, rate)
    return Playground(data=data, hidden=hidden, rate=rate, seed=seed)
