"""Ring allreduce, chunk by chunk: ranks on a circle, what each has collected, what has just been sent.

Every frame is drawn here, once, as SVG. The browser's side (ring.js) only shows one after the other, so the static picture and the
moving one cannot differ.
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
LABEL, TAIL, ROW, HEAD = 18, 26, 16, 38    # of a rank's card, in drawing units: room for a chunk's name and its count, a row, the title
GAP, TOP, FOOT = 46, 34, 94                # between cards; above and below the circle
MOST = 8


def _checked(ranks: Any, step: Any = 0) -> tuple[int, int]:
    if not isinstance(ranks, int | np.integer) or not 2 <= ranks <= MOST:
        raise ValueError(f"ranks is a whole number from 2 to {MOST} (more cannot be read), not {ranks!r}")
    if not isinstance(step, int | np.integer) or not 0 <= step <= 2 * (ranks - 1):
        raise ValueError(f"step is 0 to {2 * (ranks - 1)}, not {step!r}")
    return int(ranks), int(step)


def sends(ranks: int, step: int) -> list[int]:
    """The chunk that each rank sends to its right in this step, 1 to 2(N - 1). After N - 1 steps chunk r is complete on rank r."""
    k = step - 1
    if k < ranks - 1:
        return [(r - k - 1) % ranks for r in range(ranks)]
    return [(r - (k - ranks + 1)) % ranks for r in range(ranks)]


def contents(ranks: int, step: int) -> list[list[frozenset[int]]]:
    """Whose numbers are in [rank][chunk] after so many steps."""
    held = [[frozenset({r})] * ranks for r in range(ranks)]
    for k in range(1, step + 1):
        went = [(r, c, held[r][c]) for r, c in enumerate(sends(ranks, k))]
        for r, c, what in went:
            to = (r + 1) % ranks
            held[to][c] = held[to][c] | what if k < ranks else what
    return held


def phase(ranks: int, step: int) -> str:
    return "start" if step == 0 else "reduce-scatter" if step < ranks else "allgather"


def status(ranks: int, step: int) -> str:
    """The sentence under the picture. S: the bytes that each rank has."""
    last, sent = 2 * (ranks - 1), f"{step / ranks:.2f}"
    if step == 0:
        said = f"Start: every rank has numbers of its own, in {ranks} chunks."
    else:
        c = sends(ranks, step)[0]
        how = "which adds it to its own" if step < ranks else "which keeps it as it is"
        said = f"Step {step} of {last}, {phase(ranks, step)}: rank 0 sends chunk {c} to rank 1, {how}, and so on round the ring."
        said += " Each rank now has one chunk complete." if step == ranks - 1 else ""
        said += " Every rank has the whole sum." if step == last else ""
    return f"{said} Each rank has sent {sent} S; the root of gather-and-broadcast sends {ranks - 1} S."


def ring_svg(ranks: int = 4, step: int = 0, *, paper: bool = True) -> str:
    """The ring after so many steps as an <svg> element.

    paper  True: dark on white, for files and slides; False: in the colours of the page around it
    Raises ValueError for fewer than 2 or more than 8 ranks, or a step that does not exist.
    """
    n, k = _checked(ranks, step)
    return _draw(n, k, paper)


def _places(n: int, width: float, height: float) -> list[tuple[float, float]]:
    """Middles of n cards on the smallest circle on which no two come closer than GAP."""
    turn = math.pi if n == 2 else -math.pi / 2 if n != 4 else -3 * math.pi / 4
    ways = [(math.cos(turn + 2 * math.pi * r / n), math.sin(turn + 2 * math.pi * r / n)) for r in range(n)]

    def apart(radius: float) -> bool:
        return all(abs(a[0] - b[0]) * radius >= width + GAP + 14 or abs(a[1] - b[1]) * radius >= height + GAP
                   for i, a in enumerate(ways) for b in ways[:i])
    radius = next(radius for radius in range(40, 1000, 4) if apart(radius))
    return [(x * radius, y * radius) for x, y in ways]


def _text(kind: str, x: float, y: float, said: object) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{said}</text>'


def _edge(at: tuple[float, float], to: tuple[float, float], half: tuple[float, float]) -> tuple[float, float]:
    """Where the straight way from a card's middle leaves the card, and 5 units on."""
    dx, dy = to[0] - at[0], to[1] - at[1]
    share = min(half[0] / abs(dx) if abs(dx) > 1e-9 else math.inf, half[1] / abs(dy) if abs(dy) > 1e-9 else math.inf)
    share += 5 / math.hypot(dx, dy)
    return at[0] + share * dx, at[1] + share * dy


def _draw(n: int, step: int, paper: bool) -> str:
    held, went = contents(n, step), sends(n, step) if step else []
    seg = {2: 34, 3: 28, 4: 24, 5: 18, 6: 15}.get(n, 12)               # width of a rank's place in a bar
    width, height = LABEL + n * seg + TAIL, HEAD + n * ROW + 6
    middles = _places(n, width, height)
    wide = max(max(x for x, _ in middles) - min(x for x, _ in middles) + width + 20, 450)
    high = max(y for _, y in middles) - min(y for _, y in middles) + height + 16
    shift_x = wide / 2 - (max(x for x, _ in middles) + min(x for x, _ in middles)) / 2
    shift_y = TOP + high / 2 - (max(y for _, y in middles) + min(y for _, y in middles)) / 2
    middles = [(x + shift_x, y + shift_y) for x, y in middles]
    full = TOP + high + FOOT
    title = "before the first step" if step == 0 else f"{phase(n, step)} · step {step} of {2 * (n - 1)}"
    out = [_text("title", 10, 18, title)]
    for r, (x, y) in enumerate(middles):
        out.append(_card(r, n, (x - width / 2, y - height / 2), (width, height, seg), held[r], went))
    for r in range(n):
        out.append(_arrow(r, n, middles, (width / 2, height / 2), went[r] if went else None))
    out.append(_meters(n, step, wide, TOP + high + 12))
    size = f'width="{wide:g}" height="{full:g}"'
    sheet = f'<style>{(HERE / "ring.css").read_text(encoding="utf-8")}</style><rect class="sheet" {size}/>' if paper else ""
    kind = "hpml-ring-svg paper" if paper else "hpml-ring-svg"
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {wide:g} {full:g}" {size} role="img" '
            f'aria-label="{escape(status(n, step))}" data-step="{step}">')
    return head + sheet + "".join(out) + "</svg>"


def _card(r: int, n: int, at: tuple[float, float], shape: tuple[float, float, int], held: list[frozenset[int]], went: list[int]) -> str:
    """One rank: a row for each chunk, with a place for each rank whose numbers are in it."""
    (x, y), (width, height, seg) = at, shape
    sent, got = (went[r], went[(r - 1) % n]) if went else (None, None)
    out = [f'<g data-rank="{r}"><rect class="card" x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="6"/>',
           _text("rank", x + 8, y + 16, f"rank {r}")]
    out += [_text("of", x + LABEL + (q + 0.5) * seg, y + HEAD - 8, q) for q in range(n)]
    for c in range(n):
        top, kind = y + HEAD + c * ROW, "chunk" + (" sent" if c == sent else "") + (" got" if c == got else "")
        done = " done" if len(held[c]) == n else ""
        out.append(f'<g class="{kind}{done}" data-chunk="{c}">' + _text("name", x + LABEL / 2 + 1, top + ROW / 2, c))
        out += [f'<path class="c{q}" d="M{x + LABEL + q * seg:g},{top + 2:g}h{seg}v{ROW - 4}h-{seg}z"/>' for q in sorted(held[c])]
        out.append(f'<rect class="bar" x="{x + LABEL:g}" y="{top + 2:g}" width="{n * seg}" height="{ROW - 4}"/>')
        out.append(_text("count", x + LABEL + n * seg + TAIL / 2, top + ROW / 2, f"{len(held[c])}/{n}") + "</g>")
    return "".join(out) + "</g>"


def _arrow(r: int, n: int, middles: list[tuple[float, float]], half: tuple[float, float], chunk: int | None) -> str:
    a, b = middles[r], middles[(r + 1) % n]
    if n == 2:                                                          # two ways between the same two cards: one above the other
        off = -16 if r == 0 else 16
        a, b = (a[0], a[1] + off), (b[0], b[1] + off)
    (x1, y1), (x2, y2) = _edge(a, b, half), _edge(b, a, half)
    along = math.atan2(y2 - y1, x2 - x1)
    tips = [(x2 - 9 * math.cos(along + s), y2 - 9 * math.sin(along + s)) for s in (0.5, -0.5)]
    on = " on" if chunk is not None else ""
    out = (f'<g class="arrow{on}"><path class="shaft" d="M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}"/>'
           f'<path class="tip" d="M{x2:.1f},{y2:.1f}L{tips[0][0]:.1f},{tips[0][1]:.1f}L{tips[1][0]:.1f},{tips[1][1]:.1f}z"/>')
    if chunk is not None:
        mx, my = (x1 + x2) / 2, (y1 + y2) / 2
        out += f'<circle class="pill" cx="{mx:.1f}" cy="{my:.1f}" r="9.5"/>' + _text("what", round(mx, 1), round(my, 1), chunk)
    return out + "</g>"


def _meters(n: int, step: int, wide: float, top: float) -> str:
    """Bytes that a rank has sent so far, beside what the root of gather-and-broadcast sends in all."""
    left, room = 158, wide - 158 - 66
    unit = room / (n - 1)
    out = []
    for line, (name, now, end) in enumerate((("sent by each rank here", step / n, 2 * (n - 1) / n), ("by a root, in all", n - 1, n - 1))):
        y = top + 22 * line
        said = f"{now:.2f} S" if line == 0 else f"{n - 1} S"
        out += [_text("meter", left - 8, y + 7, name), f'<rect class="room" x="{left}" y="{y:g}" width="{end * unit:g}" height="14"/>',
                f'<rect class="{("mine", "root")[line]}" x="{left}" y="{y:g}" width="{now * unit:g}" height="14"/>',
                _text("amount", left + end * unit + 7, y + 7, said)]
    legend = "in the circle: the chunk on its way · thick frame: received · dashed: sent", "S: the bytes that each rank starts with"
    return "".join(out) + "".join(_text("legend", 10, top + 56 + 16 * i, said) for i, said in enumerate(legend))


class Ring(anywidget.AnyWidget):
    """The widget that `ring()` makes. `step` is the number of steps done, 0 to 2(N - 1), and can be set."""

    _esm = HERE / "ring.js"
    _css = HERE / "ring.css"
    frames = traitlets.List(traitlets.Unicode()).tag(sync=True)         # a drawing for each step
    said = traitlets.List(traitlets.Unicode()).tag(sync=True)           # and its sentence
    step = traitlets.Int(0).tag(sync=True)

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        steps = range(2 * (ranks - 1) + 1)
        super().__init__(frames=[_draw(ranks, k, False) for k in steps], said=[status(ranks, k) for k in steps])

    @traitlets.validate("step")
    def _step_exists(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self.frames):
            raise traitlets.TraitError(f"step is 0 to {len(self.frames) - 1}, not {proposal['value']}")
        return int(proposal["value"])

    def svg(self, paper: bool = True) -> str:
        """What the widget shows now, as a static picture."""
        return _draw(self._ranks, self.step, paper)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        said = f"Ring allreduce on {self._ranks} ranks. {status(self._ranks, self.step)}"
        return {**bundle[0], "image/svg+xml": self.svg(), "text/plain": said}, bundle[1]


def ring(ranks: int = 4) -> Ring:
    """A ring allreduce to step through, chunk by chunk.

    Use the buttons, or the left and right arrow keys; Home and End go to the first and last step.
    ranks  2 to 8
    Raises ValueError for another number.
    """
    return Ring(_checked(ranks)[0])
