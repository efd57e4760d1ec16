"""Draws network.svg: a batch goes through two matrix products. Run it again after a change: `python figures/draw.py`."""

from pathlib import Path

BLUE, ORANGE, GREEN, INK, PALE = "#0072b2", "#e69f00", "#009e73", "#24292f", "#eef2f6"


def rect(x: float, y: float, w: float, h: float, fill: str, stroke: str = "none") -> str:
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'


def text(x: float, y: float, words: str, size: int = 17, weight: str = "normal", turn: bool = False) -> str:
    turned = f' transform="rotate(-90 {x} {y})"' if turn else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="middle" fill="{INK}"{turned}>{words}</text>'


def drawing() -> str:
    """Batch x, weights w1, hidden answers h, weights w2, scores z: sides in proportion to nothing but reading."""
    top, many = 84, 96
    boxes = [("x", 44, top, 190, many, "pictures", "784 pixels"), ("w1", 276, top - 47, 92, 190, "weights", "128 neurons"),
             ("h", 420, top, 92, many, "answers", "128"),
             ("w2", 554, top + 2, 44, 92, "weights", "10"), ("z", 650, top, 44, many, "scores", "10")]
    parts = [rect(0, 0, 740, 290, "#ffffff")]
    for name, x, y, w, h, what, under in boxes:
        parts += [rect(x, y, w, h, PALE, INK), text(x + w / 2, 24, name, 19, "bold"), text(x + w / 2, y + h + 22, under, 14),
                  text(x + w / 2, y + h + 40, what, 14)]
    parts += [rect(45, top + 40, 188, 12, BLUE), rect(276 + 40, top - 46, 12, 188, ORANGE), rect(420 + 40, top + 40, 12, 12, INK),
              text(31, top + many / 2, "N", 17, turn=True), text(255, top + 56, "×", 26), text(394, top + 56, "→", 26),
              text(394, top + 30, "ReLU", 13), text(533, top + 56, "×", 26), text(624, top + 56, "=", 26)]
    body = "\n".join(parts)
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 290" width="740" height="290" '
            'font-family="DejaVu Sans, sans-serif" role="img" '
            f'aria-label="A batch of pictures goes through two matrix products">\n{body}\n</svg>\n')


if __name__ == "__main__":
    Path(__file__).with_name("network.svg").write_text(drawing(), encoding="utf-8")
