"""The progress bar: what it says, with a clock turned by hand."""

from __future__ import annotations

from typing import Any

import pytest

from hpml import progress


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was drawn, one line a drawing."""
    drawn: list[str] = []

    class Handle:
        def update(self, shown: dict[str, str], raw: bool) -> None:
            drawn.append(shown["text/plain"])

    def display(shown: dict[str, str], **_: Any) -> Handle:
        drawn.append(shown["text/plain"])
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    return drawn


def test_it_tells_how_far_how_fast_how_long_and_the_loss(screen: list[str]) -> None:
    now = [0.0]
    bar = progress.Bar(300, now=lambda: now[0])
    now[0] = 2
    bar.advance(100, loss=0.5)
    assert screen == ["100 of 300 images · 50 images/s · 4 s left · loss 0.500"]
    now[0] = 4
    bar.advance(200, loss=0.25)
    assert screen[-1] == "300 of 300 images · 75 images/s · done in 4 s · loss 0.250"
    assert 'value="300"' in bar.html() and "loss 0.250" in bar.html()


def test_it_draws_seldom_but_always_the_end(screen: list[str]) -> None:
    now = [0.0]
    bar = progress.Bar(1000, now=lambda: now[0])
    for _ in range(1000):
        now[0] += 0.001
        bar.advance(1)
    assert 8 <= len(screen) <= 13 and screen[-1].startswith("1\u202f000 of 1\u202f000")


def test_no_time_has_passed_yet(screen: list[str]) -> None:
    progress.Bar(10, now=lambda: 0.0).advance(1)
    assert "? left" in screen[0]


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (-1, "0 s")])
def test_the_clock(seconds: float, words: str) -> None:
    assert progress.clock(seconds) == words
