"""AlexNet's layers as bars: weights, work and memory. Take layers away, change the batch, and see where it all goes.

Everything is arithmetic from the published description (Krizhevsky, Sutskever, Hinton 2012). Python counts and draws; the browser only
has the switches, and shows the drawing of their positions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

HERE = Path(__file__).parent
# name, channels, kernel, stride, padding, groups; kernel 0 is dense, channels 0 a pooling
TABLE = (("conv1", 96, 11, 4, 0, 1), ("pool1", 0, 3, 2, 0, 1), ("conv2", 256, 5, 1, 2, 2), ("pool2", 0, 3, 2, 0, 1),
         ("conv3", 384, 3, 1, 1, 1), ("conv4", 384, 3, 1, 1, 2), ("conv5", 256, 3, 1, 1, 2), ("pool5", 0, 3, 2, 0, 1),
         ("fc6", 4096, 0, 1, 0, 1), ("fc7", 4096, 0, 1, 0, 1), ("fc8", 1000, 0, 1, 0, 1))
REMOVABLE = tuple(name for name, channels, *_ in TABLE if channels and name != "fc8")
SIZE, CHANNELS, CARD = 227, 3, 3e9              # the picture; bytes of the graphics card of 2012
LEFT, STEP, BAR, TALL, GAP, TOP = 122, 62, 46, 92, 46, 40


@dataclass(frozen=True)
class Count:
    """One layer: its kind (conv, pool or dense), weights with biases, multiply-accumulates and outputs for one picture."""

    name: str
    kind: str
    parameters: int
    macs: int
    outputs: int


def count(gone: Collection[str] = ()) -> list[Count]:
    """What is left of AlexNet without the layers named in `gone`. A layer whose channels no longer divide has one group.

    Raises ValueError for a name that is no convolution, and neither fc6 nor fc7.
    """
    for name in gone:
        if name not in REMOVABLE:
            raise ValueError(f"{name!r} cannot be taken away; these can: {', '.join(REMOVABLE)}")
    found, side, depth = [], SIZE, CHANNELS
    for name, channels, kernel, stride, padding, groups in TABLE:
        if name in gone:
            continue
        if kernel == 0:
            each, side, kind = side * side * depth, 1, "dense"
        else:
            side = (side + 2 * padding - kernel) // stride + 1
            each = kernel * kernel * depth // (groups if depth % groups == 0 else 1)
            kind = "conv" if channels else "pool"
        depth = channels or depth
        found.append(Count(name, kind, channels * (each + 1), channels * each * side * side, side * side * depth))
    return found


def memory(gone: Collection[str] = (), batch: int = 128) -> tuple[int, int]:
    """Bytes for training: weights, gradients and momentum; and the minibatch with the outputs of all layers."""
    left = count(gone)
    return 12 * sum(layer.parameters for layer in left), 4 * batch * (SIZE * SIZE * CHANNELS + sum(layer.outputs for layer in left))


def _share(counts: list[Count], what: str) -> float:
    return sum(getattr(c, what) for c in counts if c.kind == "dense") / sum(getattr(c, what) for c in counts)


def spaced(number: int) -> str:
    """60 965 224: thin spaces between the thousands."""
    return f"{number:,}".replace(",", "\u2009")


def status(gone: Collection[str] = (), batch: int = 128) -> str:
    """The sentence under the picture."""
    left = count(gone)
    state, kept = memory(gone, batch)
    return (f"{spaced(sum(c.parameters for c in left))} weights, {_share(left, 'parameters'):.0%} of them dense. "
            f"{sum(c.macs for c in left) / 1e6:,.0f} million multiplications a picture, {_share(left, 'macs'):.0%} of them dense. "
            f"Training with a batch of {batch}: {state / 1e9:.2f} GB for weights, gradients and momentum, {kept / 1e9:.2f} GB for outputs.")


def _short(value: float) -> str:
    return "" if value == 0 else f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"


def layers_svg(gone: Collection[str] = (), batch: int = 128, *, paper: bool = True, with_memory: bool = True) -> str:
    """The bars as an <svg> element. `paper`: dark on white, for files; otherwise in the colours of the page around it.

    with_memory  False: weights and work alone, in a flat picture for a slide
    """
    left, whole = {c.name: c for c in count(gone)}, count()
    wide = LEFT + len(TABLE) * STEP + 16
    rows = (("weights", "millions", lambda c: c.parameters / 1e6), ("work a picture", "million MACs", lambda c: c.macs / 1e6),
            ("outputs kept", "MB in training", lambda c: 4 * batch * c.outputs / 1e6))
    out = []
    for n, (title, unit, value) in enumerate(rows[:3 if with_memory else 2]):
        bottom = TOP + n * (TALL + GAP) + TALL
        most = max(*(value(c) for c in left.values()), *(value(c) for c in whole)) or 1.0
        out.append(f'<text class="name" x="{LEFT - 14}" y="{bottom - TALL / 2}">{title}</text>'
                   f'<text class="unit" x="{LEFT - 14}" y="{bottom - TALL / 2 + 17}">{unit}</text>'
                   f'<path class="ground" d="M{LEFT - 4},{bottom}H{wide - 12}"/>')
        for at, was in enumerate(whole):
            x, now = LEFT + at * STEP + (STEP - BAR) / 2, left.get(was.name)
            tall = TALL * value(now or was) / most
            kind = now.kind if now else "gone"
            out.append(f'<g class="{kind}"><rect x="{x:g}" y="{bottom - tall:.1f}" width="{BAR}" height="{max(tall, 0.6):.1f}" rx="2"/>')
            if now and (words := _short(value(now))):
                out.append(f'<text x="{x + BAR / 2:g}" y="{bottom - tall - 5:.1f}">{words}</text>')
            out.append(f'<text class="layer" x="{x + BAR / 2:g}" y="{bottom + 16}">{was.name}</text></g>')
    high = TOP + 3 * (TALL + GAP) + 64 if with_memory else TOP + 2 * (TALL + GAP) - 20
    out += _together(gone, batch, wide) if with_memory else []
    sheet = f'<style>{(HERE / "layers.css").read_text(encoding="utf-8")}</style><rect class="sheet" width="{wide}" height="{high}"/>'
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" class="hpml-layers-svg{" paper" if paper else ""}" viewBox="0 0 {wide} {high}" '
            f'width="{wide}" height="{high}" role="img" aria-label="{status(gone, batch)}">')
    return head + (sheet if paper else "") + "".join(out) + "</svg>"


def _together(gone: Collection[str], batch: int, wide: int) -> list[str]:
    """The bar of all memory, and the card of 2012 beside it."""
    out = []
    state, kept = memory(gone, batch)
    top = TOP + 3 * (TALL + GAP) + 2
    room = wide - LEFT - 30
    scale = room / max(state + kept, 1.15 * CARD)
    out.append(f'<text class="name" x="{LEFT - 14}" y="{top + 17}">together</text>'
               f'<text class="unit" x="{LEFT - 14}" y="{top + 34}">GB</text>')
    parts = (("state", 0.0, state, "weights × 3"), ("kept", state * scale, kept, "outputs"))
    for kind, begin, size, words in parts:
        out.append(f'<g class="{kind}"><rect x="{LEFT + begin:.1f}" y="{top}" width="{size * scale:.1f}" height="28" rx="2"/>')
        if size * scale > 7.2 * len(words) + 46:
            out.append(f'<text x="{LEFT + begin + size * scale / 2:.1f}" y="{top + 19}">{words}: {size / 1e9:.2f}</text>')
        elif size * scale > 30:
            out.append(f'<text x="{LEFT + begin + size * scale / 2:.1f}" y="{top + 19}">{size / 1e9:.2f}</text>')
        out.append("</g>")
    card = LEFT + CARD * scale
    out.append(f'<path class="card" d="M{card:.1f},{top - 8}V{top + 36}"/>'
               f'<text class="limit" x="{card:.1f}" y="{top + 50}">one graphics card of 2012: 3 GB</text>')
    return out


class Layers(anywidget.AnyWidget):
    """The widget that `layers()` makes. `gone` (names) and `batch` can be set; `drawing` and `said` follow."""

    _esm = HERE / "layers.js"
    _css = HERE / "layers.css"
    removable = traitlets.List(list(REMOVABLE)).tag(sync=True)
    gone = traitlets.List(traitlets.Unicode()).tag(sync=True)
    batch = traitlets.Int(128).tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)

    def __init__(self, gone: Collection[str], batch: int) -> None:
        super().__init__(gone=list(gone), batch=batch)
        self._draw()

    @traitlets.observe("gone", "batch")
    def _draw(self, _: Any = None) -> None:
        self.drawing = layers_svg(self.gone, self.batch, paper=False)
        self.said = status(self.gone, self.batch)

    @traitlets.validate("gone")
    def _can_go(self, proposal: Any) -> list[str]:
        count(proposal["value"])
        return list(proposal["value"])

    @traitlets.validate("batch")
    def _in_range(self, proposal: Any) -> int:
        return min(1024, max(1, int(proposal["value"])))

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        without = f" without {', '.join(self.gone)}" if self.gone else ""
        return {**bundle[0], "image/svg+xml": layers_svg(self.gone, self.batch), "text/plain": f"AlexNet{without}. {self.said}"}, bundle[1]


def layers(gone: Collection[str] = (), batch: int = 128) -> Layers:
    """AlexNet's eleven layers, with a bar for weights, for work and for memory, and switches that take layers away.

    gone   names of layers that are taken away at first: conv1 to conv5, fc6, fc7
    batch  pictures in a minibatch, 1 to 1024
    Raises ValueError for another name or number.
    """
    count(gone)
    if not 1 <= batch <= 1024:
        raise ValueError(f"batch is a number from 1 to 1024, not {batch!r}")
    return Layers(gone, batch)
