"""Draws gemm.svg: the patch matrix times the weight matrix is the output. Run it again after a change: `python figures/draw.py`."""

from pathlib import Path

BLUE, ORANGE, GREEN, INK, PALE = "#0072b2", "#e69f00", "#009e73", "#24292f", "#eef2f6"


def rect(x: float, y: float, w: float, h: float, fill: str, stroke: str = "none") -> str:
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def text(x: float, y: float, words: str, size: int = 17, anchor: str = "middle", weight: str = "normal", turn: bool = False) -> str:
    turned = f' transform="rotate(-90 {x} {y})"' if turn else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{INK}"{turned}>{words}</text>'


def drawing() -> str:
    top, tall, wide, thin = 62, 216, 216, 84
    p, m, y = 70, 384, 590
    row, column, side = top + 102, m + 36, 12
    parts = [rect(0, 0, 720, 330, "#ffffff")]
    parts += [rect(p, top, wide, tall, PALE, INK), rect(m, top, thin, wide, PALE, INK), rect(y, top, thin, tall, PALE, INK)]
    parts += [rect(p + i * wide / 3 + 1, row, wide / 3 - 2, side, colour) for i, colour in enumerate((BLUE, ORANGE, GREEN))]
    parts += [rect(column, top + i * wide / 3 + 1, side, wide / 3 - 2, colour) for i, colour in enumerate((BLUE, ORANGE, GREEN))]
    parts += [rect(y + 36, row, side, side, INK)]
    parts += [text((p + wide + m) / 2, top + 112, "×", 30), text((m + thin + y) / 2, top + 112, "=", 30)]
    parts += [text(p + wide / 2, 26, "patch matrix P", 19, weight="bold"), text(m + thin / 2, 26, "weights M", 19, weight="bold"),
              text(y + thin / 2, 26, "output Y", 19, weight="bold")]
    parts += [text(p + wide / 2, 50, "k·k·C numbers of a window"), text(m + thin / 2, 50, "K"), text(y + thin / 2, 50, "K")]
    parts += [text(p - 12, top + tall / 2, "N·H′·W′ windows", turn=True), text(m - 10, top + wide / 2, "k·k·C", turn=True),
              text(y - 10, top + tall / 2, "N·H′·W′", turn=True)]
    parts += [text(p + wide / 2, top + tall + 28, "one row: one window, its k rows", 14),
              text(p + wide / 2, top + tall + 44, "are runs of k·C neighbours", 14),
              text(m + thin / 2, top + tall + 28, "one column:", 14), text(m + thin / 2, top + tall + 44, "one output channel", 14),
              text(y + thin / 2, top + tall + 28, "one output number", 14)]
    body = "\n".join(parts)
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 330" width="720" height="330" '
            'font-family="DejaVu Sans, sans-serif" role="img" '
            f'aria-label="The patch matrix times the weight matrix is the output">\n{body}\n</svg>\n')


if __name__ == "__main__":
    Path(__file__).with_name("gemm.svg").write_text(drawing(), encoding="utf-8")
