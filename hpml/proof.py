"""What a verdict rests on, for the folded box at the end of its report."""

from __future__ import annotations

from typing import Any

from hpml.theme import called, escape
from hpml.verdict import Measured, Verdict


def _said(value: Any) -> str:
    """A value as words: numbers short, lists and dictionaries as one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(name: str, value: Any) -> str:
    return f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_said(value))}</dd>"


def _listing(title: str, text: str) -> str:
    return f"<p>{title}</p><pre>{escape(text)}</pre>"


def _samples(measured: Measured) -> str:
    """One pair a line."""
    pairs = (f"{n:4}{1e6 * student:14.1f}{1e6 * baseline:14.1f}{baseline / student if student else 0:12.4g}"
             for n, (student, baseline) in enumerate(measured.samples, 1))
    head = f"{'pair':>4}{'yours':>14}{'theirs':>14}{'ratio':>12}"
    title = f"Pairs with {escape(called(measured.versus))}, in µs of {'processor' if measured.clock == 'cpu' else 'wall'} time a call"
    return _listing(title, "\n".join([head, *pairs]))


def html(verdict: Verdict) -> str:
    """A folded box with the seed, hashes and versions, every sample, and the source of every cell that was run; "" without any."""
    kept = dict(verdict.evidence)
    cells = kept.pop("cells", {})
    parts = [f"<dl>{''.join(_row(str(name), value) for name, value in kept.items())}</dl>"] if kept else []
    parts += [_samples(measured) for measured in verdict.measured if measured.samples]
    parts += [_listing(f"The cell of <code>{escape(str(name))}</code>", str(source)) for name, source in cells.items()]
    if not parts:
        return ""
    return ('<details><summary>Evidence</summary><div class="hpml-evidence" tabindex="0" role="region" aria-label="Evidence">'
            f"{''.join(parts)}</div></details>")
