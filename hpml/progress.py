"""One line that shows how far a training loop is: done, per second, time left, and what the loop says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

EVERY = 0.1                 # seconds between two drawings


def clock(seconds: float) -> str:
    """Seconds in words: 9 s, 2 min 05 s."""
    whole = round(max(seconds, 0))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"


class Bar:
    """A progress bar in a notebook's output, or nothing but its last line where there is no notebook.

    >>> bar = Bar(20 * len(x), "images")
    >>> bar.advance(len(x), loss=0.41)

    A cell that is interrupted leaves the line as it was; run again, it begins a new one.
    """

    def __init__(self, total: int, unit: str = "images", now: Callable[[], float] = time.monotonic) -> None:
        self.total, self.unit, self.done = total, unit, 0
        self._now, self._began, self._drawn = now, now(), -1.0
        self._shown: dict[str, float] = {}
        self._handle: Any = None

    def advance(self, count: int, **shown: float) -> None:
        """So many more are done; `shown` are the numbers beside the bar, such as loss=0.41."""
        self.done = min(self.done + count, self.total)
        self._shown.update(shown)
        now = self._now()
        if self.done == self.total or self._drawn < 0 or now - self._drawn >= EVERY:
            self._drawn = now
            self._draw()

    def text(self) -> str:
        """The line in words."""
        spent = self._now() - self._began
        rate = self.done / spent if spent > 0 else 0.0
        left = "done in " + clock(spent) if self.done >= self.total else f"{clock((self.total - self.done) / rate) if rate else '?'} left"
        said = [f"{self.done:,} of {self.total:,} {self.unit}", f"{rate:,.0f} {self.unit}/s"]
        shown = [f"{name} {value:.3f}" for name, value in self._shown.items()]
        return " · ".join([*(part.replace(",", "\u202f") for part in said), left, *shown])

    def html(self) -> str:
        """The bar and the line."""
        return (f'<div class="hpml-progress" style="font: 14px system-ui, sans-serif"><progress max="{self.total}" value="{self.done}" '
                f'style="width: 16em; vertical-align: middle; accent-color: #0072b2"></progress> {escape(self.text())}</div>')

    def _draw(self) -> None:
        from IPython.display import display

        shown = {"text/html": self.html(), "text/plain": self.text()}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
