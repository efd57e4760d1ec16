"""Draws `inception.svg` and `block.svg`, the two figures of the lab that show no measurement: `python draw.py`."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
INK, SHEET, BLUE, ORANGE, GREEN, RED, SKY = "#24292f", "#eef2f6", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9"


def box(x: float, y: float, wide: float, tall: float, words: str, colour: str = SHEET, size: int = 15) -> str:
    lines = words.split("\n")
    texts = "".join(text(x + wide / 2, y + tall / 2 + 5 + 18 * (i - (len(lines) - 1) / 2), line, size) for i, line in enumerate(lines))
    return f'<rect x="{x}" y="{y}" width="{wide}" height="{tall}" rx="6" fill="{colour}" stroke="{INK}" stroke-width="1.5"/>{texts}'


def text(x: float, y: float, words: str, size: int = 14, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">{words}</text>'


def arrow(*points: tuple[float, float], colour: str = INK, width: float = 1.8) -> str:
    (x, y), (u, v) = points[-2], points[-1]
    a, b = (u > x) - (u < x), (v > y) - (v < y)
    head = f"{u},{v} {u - 9 * a - 5 * b},{v - 9 * b - 5 * a} {u - 9 * a + 5 * b},{v - 9 * b + 5 * a}"
    line = "L".join(f"{px},{py}" for px, py in (*points[:-1], (u - 6 * a, v - 6 * b)))
    return f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="{width}"/><polygon points="{head}" fill="{colour}"/>'


def picture(wide: int, tall: int, label: str, parts: list[str]) -> str:
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" '
            f'font-family="DejaVu Sans, sans-serif" role="img" aria-label="{label}">\n'
            f'<rect width="{wide}" height="{tall}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def inception() -> str:
    """Block 3a of GoogLeNet, with the channels of each branch."""
    rows = [(30, None, ("1×1", 64, BLUE)), (100, ("1×1", 96), ("3×3", 128, ORANGE)), (170, ("1×1", 16), ("5×5", 32, GREEN)),
            (240, ("max 3×3", 192), ("1×1", 32, RED))]
    parts = [box(4, 118, 120, 64, "28×28\n192 channels", size=14)]
    edge = 0.0
    for y, first, (words, channels, colour) in rows:
        parts.append(arrow((124, 150), (146, 150), (146, y + 24), (184 if first else 344, y + 24)))
        if first:
            parts += [box(184, y, 96, 48, f"{first[0]}\n→ {first[1]}", "#ffffff"), arrow((280, y + 24), (344, y + 24))]
        parts += [box(344, y, 96, 48, f"{words}\n→ {channels}"), arrow((440, y + 24), (516, y + 24))]
        tall = channels
        parts.append(f'<rect x="560" y="{30 + edge}" width="44" height="{tall}" fill="{colour}" fill-opacity="0.75" stroke="{INK}"/>')
        parts.append(f'<path d="M516,{y + 24}L556,{30 + edge + tall / 2}" stroke="{colour}" stroke-width="2.5" fill="none"/>')
        parts.append(text(612, 30 + edge + tall / 2 + 5, str(channels), 13, "start"))
        edge += tall
    parts += [text(232, 18, "narrow: the bottleneck", 13), text(590, 18, "concatenated: 256 channels", 13)]
    return picture(700, 310, "Four branches side by side, their channels one behind the other", parts)


def block() -> str:
    """A residual block without and with a change of size."""
    words = ["conv 3×3\nnorm", "ReLU", "conv 3×3\nnorm"]
    parts = []
    for x, title, first, side in ((30, "same size", "conv 3×3\nnorm", "x itself"),
                                  (380, "half the size, twice the channels", "conv 3×3, /2\nnorm", "every 2nd pixel,\nzeros behind")):
        middle = x + 90
        parts += [text(x + 140, 22, title, 15), text(middle, 50, "x", 17), arrow((middle, 56), (middle, 84))]
        for y, tall, what in ((84, 50, first), (152, 30, words[1]), (200, 50, words[2])):
            parts += [box(x + 20, y, 140, tall, what), arrow((middle, y + tall), (middle, {84: 152, 152: 200, 200: 276}[y]))]
        parts += [f'<circle cx="{middle}" cy="290" r="14" fill="#ffffff" stroke="{BLUE}" stroke-width="3"/>', text(middle, 296, "+", 20),
                  arrow((middle, 68), (x + 250, 68), (x + 250, 290), (middle + 14, 290), colour=BLUE, width=3)]
        for n, line in enumerate(side.split("\n")):
            parts.append(text(x + 242, 150 + 19 * n, line, 13, "end") if "\n" not in side else
                         f'<rect x="{x + 178}" y="{136 + 19 * n}" width="120" height="19" fill="#ffffff"/>'
                         + text(x + 238, 150 + 19 * n, line, 13))
        parts += [arrow((middle, 304), (middle, 322)), box(x + 20, 322, 140, 30, "ReLU"), arrow((middle, 352), (middle, 378))]
        parts.append(text(x + 14, 175, "F(x)", 15, "end"))
    return picture(700, 390, "Two convolutions, and a shortcut around them", parts)


if __name__ == "__main__":
    (HERE / "inception.svg").write_text(inception(), encoding="utf-8")
    (HERE / "block.svg").write_text(block(), encoding="utf-8")
