"""A verdict as the reader sees it: a small report in HTML, the same in plain text, and tables of many.

Everything that can come from a student (names in messages, printed output) is escaped; there is no JavaScript.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpml import plots, proof, theme
from hpml.theme import LOOKS, called, escape, number, plain, prose
from hpml.verdict import Measured, Outcome, Verdict

WIDTH = 80
_UNSAFE = re.compile(r"<\s*/?\s*(script|style|foreignobject|iframe|object|embed|a)\b|\son\w+\s*=|javascript:", re.IGNORECASE)


# --------------------------------------------------------------------------------------------- sentences, marked as **bold**


def _points(verdict: Verdict) -> str:
    if verdict.outcome.pending:
        return f"{plain(verdict.score)}/{plain(verdict.max_score)} points so far, pending"
    return f"{plain(verdict.score)}/{plain(verdict.max_score)} points"


def _interval(measured: Measured) -> str:
    pairs = len(measured.samples)
    if not (measured.low > 0 and math.isfinite(measured.high)):
        return f"no interval yet, {pairs} pairs"
    return f"95 % interval {number(measured.low)}–{number(measured.high)}, {pairs} pairs"


def _ratio(measured: Measured) -> str:
    words = called(measured.versus)
    if measured.target == "efficiency":
        return f"{number(100 * measured.ratio)} % of what this machine allows, {words}"
    if measured.target != "speedup":
        return f"{number(measured.ratio)} of the speed of {words}"
    if measured.ratio >= 1:
        return f"{number(measured.ratio)}× faster than {words}"
    return f"{number(1 / measured.ratio)}× slower than {words}"


def _target(measured: Measured) -> str:
    """One measured target: its ratio in bold, the evidence in brackets."""
    times = "×" if measured.target == "speedup" else ""
    full = f"full credit from {plain(measured.full)}{times}"
    got = "" if measured.credit >= 1 else f", you have {_percent(measured.credit)} of it"
    return f"**{_ratio(measured)}** ({_interval(measured)}; {full}{got})"


def _target_name(measured: Measured) -> str:
    what = {"speedup": "speed-up over", "efficiency": "scaling efficiency against"}.get(measured.target, "fraction of")
    return f"{what} {called(measured.versus)}"


def _counter(name: str, value: float, budget: float | None) -> str:
    """`copied_bytes`, 0, 0 → "0 bytes copied (budget 0)"."""
    said = theme.counted(name, value)
    if budget is None:
        return said
    most = "0" if not budget else theme.amount(name, budget)
    return f"{said} (budget {most})" + ("" if value <= budget else ", too much")


def _unit(value: str, unit: str) -> str:
    return f"{value}{'' if unit in ('', '×') else ' '}{unit}"


def _said(verdict: Verdict) -> str:
    return _unit(plain(verdict.predicted.value), verdict.predicted.unit) if verdict.predicted else ""


def _truth(verdict: Verdict) -> str:
    if not verdict.predicted:
        return ""
    truth = verdict.predicted.truth
    return _unit(plain(truth) if truth == round(truth, 0) and abs(truth) < 1e5 else number(truth), verdict.predicted.unit)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _found(verdict: Verdict) -> str:
    """The first sentence: what was measured or predicted, else what became of the answer."""
    if verdict.measured:
        return " **and** ".join(map(_target, verdict.measured)) + "."
    if verdict.predicted:
        return f"**you said {_said(verdict)}, it is {_truth(verdict)}.**"
    view = ", and a view" if verdict.passed and verdict.counters.get("copied_bytes") == 0 else ""
    return f"**{LOOKS[verdict.outcome].phrase}{view}.**"


def _more(verdict: Verdict) -> str:
    """The sentences after it: counters, place under the roof, prediction."""
    sentences = [_counter(key, value, verdict.budgets.get(key)) + "." for key, value in verdict.counters.items()]
    if verdict.roofline:
        where = "on one thread" if all(m.clock == "cpu" for m in verdict.measured) else "on all cores"
        sentences.append(f"{_percent(verdict.roofline.fraction_of_peak)} of this machine's matrix peak {where}.")
    if verdict.predicted and verdict.measured:
        sentences.append(f"Your prediction was {_said(verdict)}.")
    return " ".join(sentences)


def _message(verdict: Verdict) -> str:
    """The message, unless it only repeats the headline; an open exercise's also says what to do."""
    said = verdict.message.strip()
    good, right = verdict.outcome in (Outcome.PASS, Outcome.PARTIAL), rf"`?{re.escape(verdict.exercise)}`? is (right|correct)\.?"
    if (good and re.fullmatch(right, said)) or (verdict.predicted and said.startswith("You predicted ")):
        return ""
    still = re.fullmatch(r"`(\w+)` is still open\.", said)
    if still and verdict.outcome is Outcome.NOT_ATTEMPTED and verdict.evidence.get("purpose") != "grade":
        return f"{said} Fill in the cell of `{still[1]}` above, run it, then run this cell again."
    return said


def _label(verdict: Verdict) -> str:
    """What the hint is called: where the answer is right, or a prediction, it explains."""
    return "Why" if verdict.predicted or verdict.outcome in (Outcome.PASS, Outcome.PARTIAL) else "Hint"


def _small(verdict: Verdict) -> str:
    return f"lab {verdict.lab} · jail: {verdict.jail} · {verdict.seconds:.1f} s"


# -------------------------------------------------------------------------------------------------------------- HTML


def _marked(text: str) -> str:
    """A sentence of ours as HTML: `code` and **bold**."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", prose(text))


def _badge(outcome: Outcome) -> str:
    look = LOOKS[outcome]
    return (f'<span class="hpml-badge" style="--hpml-tone: {look.colour}; --hpml-on: {look.ink}"><span aria-hidden="true">{look.symbol}'
            f"</span> {escape(str(outcome))}</span>")


def _plots(verdict: Verdict) -> list[str]:
    """Samples of every target, and the roofline with the baselines beside the answer."""
    drawn = [plots.svg(plots.samples(m), f"{len(m.samples)} pairs: {_ratio(m)}, {_interval(m)}") for m in verdict.measured if m.samples]
    roof = verdict.roofline
    if roof:
        points = [plots.Point("yours", roof.intensity, roof.gflops)]
        points += [plots.Point(called(m.versus), roof.intensity, roof.gflops / m.ratio) for m in verdict.measured if m.ratio > 0]
        drawn.append(plots.svg(plots.roofline(points, roof), f"Roofline: {number(roof.gflops)} GFLOP/s at {number(roof.intensity)} FLOP "
                                                            f"per byte, under a peak of {number(roof.peak_gflops)} GFLOP/s"))
    return drawn


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>" if text.strip() else ""


def _picture(svg: str | None) -> str:
    if not svg:
        return ""
    if not svg.lstrip().startswith("<svg") or _UNSAFE.search(svg):
        return '<p class="hpml-small">(The picture was left out: it is not a plain drawing.)</p>'
    return f'<div class="hpml-picture">{svg}</div>'


def html(verdict: Verdict) -> str:
    """The report of one verdict as a self-contained HTML fragment: no JavaScript, style scoped to the class `hpml`."""
    look, lines = LOOKS[verdict.outcome], len(verdict.output.splitlines())
    share = max(0.0, min(1.0, verdict.score / verdict.max_score)) if verdict.max_score else 0.0
    notes = "".join(f"<li>{prose(note)}</li>" for note in verdict.notes)
    drawn = "".join(f"<div>{svg}</div>" for svg in _plots(verdict))
    found, message = f"{_found(verdict)} {_more(verdict)}".strip(), _message(verdict)
    if verdict.outcome in (Outcome.WRONG, Outcome.NOT_ATTEMPTED) and message and not (verdict.measured or verdict.predicted):
        found = _more(verdict)                              # the badge has said it
    leads = [_marked(found[:2] + found[2:3].upper() + found[3:] if found.startswith("**") else found)] if found else []
    leads += [prose(message)] if message else []
    parts = [
        f'<section class="hpml hpml-verdict" aria-label="{escape(verdict.exercise)}: {escape(str(verdict.outcome))}" '
        f'style="--hpml-tone: {look.colour}; --hpml-on: {look.ink}"><style>{theme.css()}</style>',
        f'<p class="hpml-head">{_badge(verdict.outcome)} <strong>{escape(verdict.exercise)}</strong> <span class="hpml-points">'
        f'<span class="hpml-bar" aria-hidden="true"><span style="width: {share:.0%}"></span></span>{escape(_points(verdict))}</span></p>',
        *(f'<p class="{"hpml-more" if i else "hpml-lead"}">{lead}</p>' for i, lead in enumerate(leads)),
        f'<p class="hpml-hint"><strong>{_label(verdict)}.</strong>{prose(verdict.hint)}</p>' if verdict.hint else "",
        f'<ul class="hpml-notes">{notes}</ul>' if notes else "",
        _picture(verdict.picture),
        f'<div class="hpml-plots">{drawn}</div>' if drawn else "",
        _folded(f"What your code printed ({lines} line{'' if lines == 1 else 's'})", verdict.output),
        proof.html(verdict),
        f'<p class="hpml-small">{escape(_small(verdict))}</p></section>',
    ]
    return "\n".join(part for part in parts if part)


# -------------------------------------------------------------------------------------------------------------- text


def _wrapped(text: str, first: str = "", later: str | None = None) -> list[str]:
    """Lines of at most WIDTH columns, wide characters counted as two."""
    later = " " * len(first) if later is None else later
    console = Console(width=WIDTH, file=io.StringIO(), color_system=None)
    lines: list[str] = []
    for paragraph in theme.visible(text).expandtabs(4).replace("\u202f", "\ue000").splitlines() or [""]:       # no break inside 12 345
        for line in Text(paragraph).wrap(console, WIDTH - max(len(first), len(later))):
            lines.append(((later if lines else first) + line.plain).rstrip().replace("\ue000", "\u202f"))
    return lines


def _ruler(measured: Measured, width: int = 60) -> list[str]:
    """A target on a logarithmic ruler: | where credit starts and is full, = the interval, o the ratio."""
    known = measured.low > 0 and math.isfinite(measured.high)
    low, high = (measured.low, measured.high) if known else (measured.ratio, measured.ratio)
    least, most = min(measured.start, low) / 1.1, max(measured.full, high) * 1.1
    if not (0 < least < most < math.inf):
        return []

    def at(value: float) -> int:
        return round(math.log(value / least) / math.log(most / least) * (width - 1))

    marks = ["-"] * width
    marks[at(measured.start)] = marks[at(measured.full)] = "|"
    marks[at(low):at(high) + 1] = "=" * (at(high) + 1 - at(low))
    marks[at(measured.ratio)] = "o"
    words = [" "] * (width + 20)
    for value, word in ((measured.start, f"start {plain(measured.start)}"), (measured.full, f"full {plain(measured.full)}")):
        place = max(0, min(at(value) - len(word) // 2, WIDTH - 4 - len(word)))
        words[place:place + len(word)] = word
    return ["    " + "".join(marks), ("    " + "".join(words)).rstrip()[:WIDTH]]


def text(verdict: Verdict) -> str:
    """The same report in plain text, at most 80 columns wide."""
    look = LOOKS[verdict.outcome]
    said = " ".join(part for part in (_found(verdict).replace("**", ""), _more(verdict), f"{_points(verdict)}.") if part)
    lines = _wrapped(f"{look.symbol} {verdict.outcome} · {verdict.exercise}: {said}", later="  ")
    lines += _wrapped(_message(verdict), "  ") if _message(verdict) else []
    lines += _wrapped(verdict.hint, f"  {_label(verdict)}: ", "  ") if verdict.hint else []
    for note in verdict.notes:
        lines += _wrapped(note, "  - ")
    for measured in verdict.measured:
        lines += ["", *_wrapped(f"{_target_name(measured)}, logarithmic:", "  "), *_ruler(measured)]
    if verdict.roofline:
        roof = verdict.roofline
        lines += ["", *_wrapped(f"{number(roof.gflops)} GFLOP/s at {number(roof.intensity)} FLOP/byte; the peak is "
                                f"{number(roof.peak_gflops)} GFLOP/s, the memory gives {number(roof.bandwidth_gbs)} GB/s.", "  ")]
    if verdict.output.strip():
        lines += ["", "  Your code printed:", *(row for line in verdict.output.splitlines() for row in _wrapped(line, "  > "))]
    return "\n".join([*lines, *_wrapped(_small(verdict), "  ")])


# ------------------------------------------------------------------------------------------------------------ tables


def table(verdicts: Iterable[Verdict], title: str | None = None) -> Table:
    """All verdicts of a lab for a terminal, with a line of totals."""
    rows = list(verdicts)
    made = Table(title=None if title is None else Text(title), title_justify="left", show_footer=True)
    total, most = math.fsum(v.score for v in rows), math.fsum(v.max_score for v in rows)
    made.add_column("exercise", footer="total")
    made.add_column("outcome")
    made.add_column("points", justify="right", footer=f"{plain(total)}/{plain(most)}", no_wrap=True)
    made.add_column("measured")
    made.add_column("seconds", justify="right", footer=f"{math.fsum(v.seconds for v in rows):.1f}")
    for v in rows:
        look = LOOKS[v.outcome]
        found = [_ratio(m) for m in v.measured] + [_counter(k, n, v.budgets.get(k)) for k, n in v.counters.items()]
        if v.predicted:
            found.append(f"said {_said(v)}, is {_truth(v)}")
        if not found and not v.passed:
            found.append(v.hint or v.message)
        made.add_row(Text(theme.visible(v.exercise)), Text(f"{look.symbol} {v.outcome}", style=f"{look.ink} on {look.colour}"),
                     Text(f"{plain(v.score)}/{plain(v.max_score)}"), Text(theme.visible("\n".join(found))), Text(f"{v.seconds:.1f}"))
    return made


def measured_table(verdicts: Iterable[Verdict]) -> str:
    """"What you measured": the table that closes a lab, as HTML, filled from the reader's own verdicts."""
    rows: list[tuple[str, str, str, str]] = []
    for v in verdicts:
        rows += [(v.exercise, _target_name(m),
                  number(m.ratio) + ("×" if m.target == "speedup" else ""), _interval(m)) for m in v.measured]
        if v.roofline:
            rows.append((v.exercise, "speed", f"{number(v.roofline.gflops)} GFLOP/s",
                         f"{_percent(v.roofline.fraction_of_peak)} of the matrix peak, {number(v.roofline.peak_gflops)} GFLOP/s"))
        for key, value in v.counters.items():
            budget = v.budgets.get(key)
            rows.append((v.exercise, key.removesuffix("_bytes").replace("_", " ") + (" memory" if key == "peak_bytes" else ""),
                         theme.amount(key, value), "" if budget is None else f"budget {theme.amount(key, budget)}"))
        if v.predicted:
            rows.append((v.exercise, "prediction", _truth(v), f"you said {_said(v)}"))
    style = f'<div class="hpml"><style>{theme.css()}</style>'
    if not rows:
        return f"{style}<p>Nothing is measured yet. Run the checks above, then this cell again.</p></div>"
    head = "".join(f'<th scope="col">{word}</th>' for word in ("exercise", "what", "yours", "how sure, or how it compares"))
    body = "".join(f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{escape(what)}</td><td><strong>{escape(value)}</strong></td>'
                   f"<td>{escape(beside)}</td></tr>" for name, what, value, beside in rows)
    return f"{style}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
