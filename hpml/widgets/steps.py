"""One training step of two workers on a time line: forward, backward layer by layer, and the allreduce of the gradients.

The times are a model, not a measurement: one forward pass takes 30 units, the backward pass of each of four layers 15, last layer first.
Python computes and draws; the browser only moves the sliders, and shows the drawing of their positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

HERE = Path(__file__).parent
FORWARD, BACKWARD, LAYERS = 30.0, 15.0, 4
WAYS = {"end": "one message, when all gradients are there", "layer": "a message for each layer, as soon as it is ready"}
LEFT, WIDE, SCALE, TALL = 92, 760, 4.6, 34              # drawing units; SCALE of them are one unit of time, or fewer


@dataclass(frozen=True)
class Piece:
    """Something that a worker (0 or 1) does from `begin` to `end`: forward, backward, wait or send; `layer` from 0, the first."""

    worker: int
    what: str
    begin: float
    end: float
    layer: int = -1


def plan(slower: float, message: float, way: str = "end") -> tuple[list[Piece], float]:
    """All pieces of one step, and when it ends.

    slower   per cent by which worker 1 computes more slowly
    message  time for all gradients on the wire; a message for a layer takes a quarter of it, and 2 for itself
    way      "end" or "layer"
    Raises ValueError for other numbers than 0 to 100, or another way.
    """
    if not (0 <= slower <= 100 and 0 <= message <= 100):
        raise ValueError(f"slower and message are numbers from 0 to 100, not {slower!r} and {message!r}")
    if way not in WAYS:
        raise ValueError(f"way is 'end' or 'layer', not {way!r}")
    pieces: list[Piece] = []
    ready: dict[int, list[float]] = {}                   # layer → when each worker has its gradient
    for worker, pace in enumerate((1.0, 1 + slower / 100)):
        now = FORWARD * pace
        pieces.append(Piece(worker, "forward", 0, now))
        for layer in reversed(range(LAYERS)):
            pieces.append(Piece(worker, "backward", now, now + BACKWARD * pace, layer))
            now += BACKWARD * pace
            ready.setdefault(layer, []).append(now)
    free = 0.0                                           # the wire
    groups = [list(reversed(range(LAYERS)))] if way == "end" else [[layer] for layer in reversed(range(LAYERS))]
    for group in groups:
        each = [max(ready[layer][worker] for layer in group) for worker in (0, 1)]
        begin = max(*each, free)
        end = begin + 2 + message * len(group) / LAYERS
        for worker in (0, 1):
            if begin > each[worker]:
                pieces.append(Piece(worker, "wait", each[worker], begin, group[-1]))
            pieces.append(Piece(worker, "send", begin, end, group[-1]))
        free = end
    return pieces, free


def efficiency(slower: float, message: float, way: str = "end") -> float:
    """How near the step comes to that of two workers that say nothing, each at its own pace: the ceiling, 0 to 1."""
    alone = FORWARD + LAYERS * BACKWARD
    speed = 1 / alone + 1 / (alone * (1 + slower / 100))
    return 2 / plan(slower, message, way)[1] / speed


def status(slower: float, message: float, way: str = "end") -> str:
    """The sentence under the picture."""
    pieces, end = plan(slower, message, way)
    done = [max(p.end for p in pieces if p.what == "backward" and p.worker == worker) for worker in (0, 1)]
    return (f"The step takes {end:.0f}; {end - max(done):.0f} of that after the last gradient. Worker 0 has all of its gradients "
            f"{done[1] - done[0]:.0f} before worker 1. Efficiency against the ceiling: {efficiency(slower, message, way):.0%}.")


def steps_svg(slower: float = 30, message: float = 25, way: str = "end", *, paper: bool = True) -> str:
    """The step as an <svg> element. `paper`: dark on white, for files; otherwise in the colours of the page around it."""
    pieces, end = plan(slower, message, way)
    scale = min(SCALE, (WIDE - 70) / end)
    full_w, full_h = LEFT + WIDE, 232
    rows = {("compute", 0): 34, ("talk", 0): 74, ("compute", 1): 134, ("talk", 1): 174}
    out = []
    for worker in (0, 1):
        out.append(f'<text class="name" x="{LEFT - 10}" y="{rows["compute", worker] + 34}">worker {worker}</text>')
    for p in pieces:
        row = rows["talk" if p.what in ("wait", "send") else "compute", p.worker]
        x, width = LEFT + p.begin * scale, max((p.end - p.begin) * scale, 0.5)
        if p.what == "wait" and way == "layer":
            row, tall = row + TALL - 7, 7                # waits of several layers overlap: a thin line below
        else:
            tall = TALL
        out.append(f'<g class="{p.what}"><rect x="{x:.1f}" y="{row}" width="{width:.1f}" height="{tall}" rx="3"/>')
        words = {"forward": "forward", "backward": f"{p.layer + 1}", "wait": "wait" if way == "end" else "",
                 "send": "allreduce" if way == "end" else f"{p.layer + 1}"}[p.what]
        if words and width > 9 * len(words) * 0.8 + 4:
            out.append(f'<text x="{x + width / 2:.1f}" y="{row + tall / 2 + 5:.1f}">{words}</text>')
        out.append("</g>")
    x = LEFT + end * scale
    out.append(f'<path class="end" d="M{x:.1f},22V214"/><text class="last" x="{x + 5:.1f}" y="226">next step</text>')
    out.append(f'<text class="head" x="{LEFT}" y="20">time → (numbers: layers; backward goes from the last to the first)</text>')
    sheet = f'<style>{(HERE / "steps.css").read_text(encoding="utf-8")}</style><rect class="sheet" width="{full_w}" height="{full_h}"/>'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="hpml-steps-svg{" paper" if paper else ""}" viewBox="0 0 {full_w} {full_h}" '
            f'width="{full_w}" height="{full_h}" role="img" aria-label="{status(slower, message, way)}">'
            + (sheet if paper else "") + "".join(out) + "</svg>")


class Steps(anywidget.AnyWidget):
    """The widget that `steps()` makes. `slower`, `message` and `way` can be set; `drawing` and `said` follow."""

    _esm = HERE / "steps.js"
    _css = HERE / "steps.css"
    slower = traitlets.Float(30).tag(sync=True)
    message = traitlets.Float(25).tag(sync=True)
    way = traitlets.Enum(list(WAYS), "end").tag(sync=True)
    ways = traitlets.Dict(WAYS).tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)

    def __init__(self, slower: float, message: float, way: str) -> None:
        plan(slower, message, way)
        super().__init__(slower=slower, message=message, way=way)
        self._draw()

    @traitlets.observe("slower", "message", "way")
    def _draw(self, _: Any = None) -> None:
        self.drawing = steps_svg(self.slower, self.message, self.way, paper=False)
        self.said = status(self.slower, self.message, self.way)

    @traitlets.validate("slower", "message")
    def _in_range(self, proposal: Any) -> float:
        return min(100.0, max(0.0, float(proposal["value"])))

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        said = f"One step of two workers, worker 1 is {self.slower:g} % slower. {self.said}"
        return {**bundle[0], "image/svg+xml": steps_svg(self.slower, self.message, self.way), "text/plain": said}, bundle[1]


def steps(slower: float = 30, message: float = 25, way: str = "end") -> Steps:
    """One step of two workers, to play with: sliders for how much slower worker 1 is, and how long the message takes.

    slower   per cent by which worker 1 computes more slowly, 0 to 100
    message  time for all gradients on the wire, 0 to 100; forward and backward together take 90
    way      "end": one message when all gradients are there; "layer": one for each layer, as soon as both workers have it
    Raises ValueError for other numbers.
    """
    return Steps(slower, message, way)
