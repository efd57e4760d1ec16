"""Draws step.svg: one step of two workers. Run it again after a change: `python figures/draw.py`."""

from pathlib import Path

BLUE, ORANGE, GREEN, INK, PALE = "#0072b2", "#e69f00", "#009e73", "#24292f", "#eef2f6"
BOXES = (("weights", 96, PALE), ("my pictures", 124, "#cfe6f5"), ("my gradient", 120, "#f9e0ac"), ("mean gradient", 136, "#b9e5d6"),
         ("new weights", 120, PALE))
NOTES = ("equal", "different", "different", "equal", "equal")
GAPS, LEFT, TALL = (26, 26, 64, 26, 0), 92, 54


def text(x: float, y: float, words: str, size: int = 16, anchor: str = "middle", weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{INK}">{words}</text>'


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str = INK) -> str:
    return f'<path d="M{x1:g},{y1:g}L{x2:g},{y2:g}" stroke="{colour}" stroke-width="2.5" fill="none" marker-end="url(#tip)"/>'


def worker(top: float, name: str) -> list[str]:
    """One row: its boxes from left to right, with an arrow between any two but gradient and mean."""
    parts, x = [text(LEFT - 14, top + TALL / 2 + 5, name, 17, "end", "bold")], float(LEFT)
    for n, (words, wide, colour) in enumerate(BOXES):
        parts.append(f'<rect x="{x:g}" y="{top:g}" width="{wide}" height="{TALL}" rx="6" fill="{colour}" stroke="{INK}" '
                     'stroke-width="1.5"/>')
        parts.append(text(x + wide / 2, top + TALL / 2 + 5, words))
        if n < len(BOXES) - 1 and n != 2:
            parts.append(arrow(x + wide + 3, top + TALL / 2, x + wide + GAPS[n] - 5, top + TALL / 2))
        x += wide + GAPS[n]
    return parts


def drawing() -> str:
    above, below = 66, 196
    ends = [LEFT]
    for (_, wide, _), gap in zip(BOXES, GAPS, strict=True):
        ends.append(ends[-1] + wide + gap)
    full = ends[-1] + 16
    parts = [f'<rect width="{full}" height="300" fill="#ffffff"/>', *worker(above, "rank 0"), *worker(below, "rank 1")]
    out, into = ends[3] - GAPS[2], ends[3]                                          # every gradient goes into both means
    for start in (above, below):
        for end in (above, below):
            meet = end + TALL / 2 + 6 * ((start > end) - (start < end))
            parts.append(arrow(out + 2, start + TALL / 2, into - 5, meet, GREEN))
    parts.append(text((out + into) / 2, 28, "allreduce", 17, weight="bold"))
    parts.append(text(ends[0] + BOXES[0][1] / 2, 28, "broadcast once", 17, weight="bold"))
    parts.append(text(ends[1] + BOXES[1][1] / 2, 28, "shard", 17, weight="bold"))
    for n, word in enumerate(NOTES):
        parts.append(text(ends[n] + BOXES[n][1] / 2, 284, word, 15))
    body = "\n".join(parts)
    tip = ('<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" markerHeight="5" orient="auto">'
           f'<path d="M0,0L8,4L0,8z" fill="{INK}"/></marker></defs>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full} 300" width="{full}" height="300" '
            'font-family="DejaVu Sans, sans-serif" role="img" aria-label="One step of two workers: equal weights, different pictures, '
            f'different gradients, one mean, equal weights again">\n{tip}\n{body}\n</svg>\n')


if __name__ == "__main__":
    Path(__file__).with_name("step.svg").write_text(drawing(), encoding="utf-8")
