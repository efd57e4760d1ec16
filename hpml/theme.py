"""What pictures and reports share: colours, symbols, wording, escaping. The palette is that of Okabe & Ito, "Color universal
design" (2008), which stays apart for every common kind of colour vision; nothing is ever said by colour alone."""

from __future__ import annotations

import functools
import html
import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from hpml.verdict import Outcome

BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILLION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#808080"                       # readable on white and on black


@dataclass(frozen=True)
class Look:
    """How an outcome is shown: a colour, a symbol that does not need it, and the few words of a headline."""

    colour: str
    symbol: str
    phrase: str

    @property
    def ink(self) -> str:
        """Black or white, whichever reads better on the colour."""
        return "#000000" if contrast(self.colour, "#000000") >= contrast(self.colour, "#ffffff") else "#ffffff"


LOOKS = {
    Outcome.PASS: Look(GREEN, "✓", "correct"),
    Outcome.PARTIAL: Look(SKY, "◐", "correct, with part of the points"),
    Outcome.WRONG: Look(VERMILLION, "✗", "wrong"),
    Outcome.NOT_ATTEMPTED: Look("#9aa0a6", "○", "still open"),
    Outcome.MALFORMED: Look(PURPLE, "¶", "could not be read"),
    Outcome.TIMEOUT: Look(ORANGE, "◷", "took too long"),
    Outcome.OUT_OF_MEMORY: Look("#a6761d", "▦", "needed too much memory"),
    Outcome.CRASHED: Look("#882255", "✸", "its process ended"),
    Outcome.TAMPERED: Look("#3d3d3d", "⚑", "stopped by a guard"),
    Outcome.TOO_NOISY: Look(YELLOW, "≈", "too noisy to decide"),
    Outcome.NEEDS_MANUAL: Look(BLUE, "✎", "a person will read it"),
    Outcome.NOT_MEASURABLE: Look("#0f766e", "∅", "not measurable on this machine"),
    Outcome.INFRASTRUCTURE: Look("#64748b", "↻", "the referee failed, not you"),
}


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21, as WCAG 2 defines it."""
    def luminance(colour: str) -> float:
        parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def visible(text: str) -> str:
    """Control and direction-changing characters made visible or dropped: text from a student must not steer a terminal."""
    def shown(c: str) -> str:
        if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"):
            return c
        return chr(0x2400 + ord(c)) if ord(c) < 0x20 else "�"
    return "".join(map(shown, text.replace("\r\n", "\n")))


def escape(text: str) -> str:
    """Text that is safe inside an HTML element or attribute."""
    return html.escape(visible(text))


def prose(text: str) -> str:
    """A sentence as HTML: escaped, with `names in backticks` set as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text))


_WORDS = {"conv": "convolution", "framework": "framework's", "gemm": "matrix product"}


def called(name: str) -> str:
    """The words for a baseline: `six_loops` → "the six loops", `framework_conv` → "the framework's convolution"."""
    return "the " + " ".join(_WORDS.get(word, word) for word in name.split("_"))


def number(value: float) -> str:
    """A number with two or three digits that matter: 412, 41.2, 4.12, 0.41."""
    if not math.isfinite(value):
        return "∞" if value > 0 else str(value)
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}".replace(",", "\u202f")
    digits = 1 if size >= 9.995 else 2 if size >= 0.0995 or size == 0 else 3
    return f"{value:.{digits}f}" if size >= 0.001 or size == 0 else f"{value:.1e}"


def plain(value: float) -> str:
    """A number that somebody wrote down: 200, 0.35, 9."""
    return f"{value:.6g}"


def size(count: float) -> str:
    """Bytes with their unit, decimal: 0 bytes, 41.2 MB."""
    for power, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= power:
            return f"{count / power:.3g} {unit}"
    return f"{count:.0f} byte" + ("" if count == 1 else "s")


_COUNTED = {"copied_bytes": "copied", "peak_bytes": "at the peak", "messages": "messages", "steps": "steps, one after the other",
            "bytes_per_rank": "sent by the busiest rank", "bytes_per_link": "over the busiest link",
            "slow_bytes": "over the busiest slow link", "seconds": "on the α–β clock", "loopback_bytes": "over the loopback"}


def amount(name: str, value: float) -> str:
    """The value of a counter with its unit: 4.1 kB, 14, 42 µs."""
    if "bytes" in name.split("_"):
        return size(value)
    if name == "seconds":
        scale, unit = (1, "s") if value >= 1 else (1e3, "ms") if value >= 1e-3 else (1e6, "µs")
        return f"{value * scale:.3g} {unit}"
    return plain(value)


def counted(name: str, value: float) -> str:
    """The value of a counter in words: "4.1 kB sent by the busiest rank", "14 messages"."""
    known = _COUNTED.get(name)
    if known is None and not name.endswith("_bytes"):
        return f"{name.replace('_', ' ')}: {plain(value)}"
    return f"{amount(name, value)} {known or name.removesuffix('_bytes').replace('_', ' ')}"


@functools.cache
def css() -> str:
    """The one style sheet, for a <style> element; every rule is scoped to the class `hpml`."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
