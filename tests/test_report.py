"""Reports: every outcome has its look, what a student writes stays text, and the plain variant is complete."""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from hpml import report, theme
from hpml.verdict import Measured, Outcome, Predicted, Roofline, Verdict

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> ' \" & [red]x[/red] \x1b[31m\x07\u202e ]]> </style>"


def verdict(outcome: Outcome = Outcome.PASS, **changes: object) -> Verdict:
    values: dict[str, object] = {"lab": "04-conv-gemm", "exercise": "conv_gemm", "outcome": outcome, "score": 6, "max_score": 6,
                                 "message": "`conv_gemm` is right.", "jail": "bubblewrap", "seconds": 2.34}
    return Verdict.model_validate({**values, **changes})


def speedup(**changes: object) -> Measured:
    values: dict[str, object] = {"target": "speedup", "versus": "six_loops", "start": 20, "full": 200, "ratio": 412, "low": 398,
                                 "high": 427, "credit": 1, "samples": [(1e-3, 0.41)] * 24}
    return Measured.model_validate({**values, **changes})


FRACTION = Measured(target="fraction", versus="framework_conv", start=0.1, full=0.35, ratio=0.41, low=0.40, high=0.43, credit=1,
                    samples=[(1e-3, 4.1e-4)] * 24)
ROOF = Roofline(gflops=45, peak_gflops=155, bandwidth_gbs=15, intensity=31, fraction_of_peak=0.29)
FULL = verdict(measured=[speedup(), FRACTION], roofline=ROOF, predicted=Predicted(value=60, truth=29, unit="%"),
               counters={"copied_bytes": 0}, budgets={"copied_bytes": 0}, notes=["The copy costs as much as the product."],
               output="shape (2, 26, 26, 32)", evidence={"seed": "7"})


def plain(html: str) -> str:
    """What a reader of the HTML sees, without style and pictures."""
    html = re.sub(r"<(style|svg).*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", "".join(ET.fromstring(html).itertext()))


def one_line(v: Verdict) -> str:
    """The plain text without its line breaks."""
    return re.sub(r"\s+", " ", report.text(v))


# ------------------------------------------------------------------------------------------------------------ looks


def test_every_outcome_has_its_own_colour_symbol_and_word() -> None:
    assert set(theme.LOOKS) == set(Outcome)
    for part in ("colour", "symbol", "phrase"):
        assert len({getattr(look, part) for look in theme.LOOKS.values()}) == len(Outcome)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_badges_can_be_read(outcome: Outcome) -> None:
    look = theme.LOOKS[outcome]
    assert theme.contrast(look.colour, look.ink) >= 4.5                   # WCAG 2, level AA


def test_contrast_is_that_of_wcag() -> None:
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21) and theme.contrast("#777777", "#777777") == 1


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_said_in_both_variants(outcome: Outcome) -> None:
    v = verdict(outcome, score=0, message="Because of this.", hint="Think of that.")
    for said in (plain(report.html(v)), report.text(v)):
        assert theme.LOOKS[outcome].symbol in said and str(outcome) in said and "Because of this." in said and "Think of that." in said
        assert "0/6 points" in said and ("pending" in said) == outcome.pending


# ------------------------------------------------------------------------------------------------------------- words


def test_a_measured_verdict_says_everything() -> None:
    wanted = ["conv_gemm", "412× faster than the six loops", "(95 % interval 398–427, 24 pairs; full credit from 200×)",
              "0.41 of the speed of the framework's convolution", "full credit from 0.35", "6/6 points",
              "29 % of this machine's matrix peak on one thread.", "Your prediction was 60 %.", "0 bytes copied (budget 0)",
              "The copy costs as much as the product.", "shape (2, 26, 26, 32)", "jail: bubblewrap", "2.3 s"]
    for said in (plain(report.html(FULL)), one_line(FULL)):
        assert [w for w in wanted if w not in said] == []


def test_three_plots_stand_in_a_measured_report() -> None:
    assert report.html(FULL).count("<svg") == 3 and report.html(verdict()).count("<svg") == 0


def test_a_view_is_named_and_the_message_not_said_twice() -> None:
    v = verdict(counters={"copied_bytes": 0}, budgets={"copied_bytes": 0})
    assert "Correct, and a view. 0 bytes copied (budget 0)." in plain(report.html(v)) and "is right" not in report.text(v)


def test_counters_over_budget_say_so() -> None:
    v = verdict(Outcome.WRONG, counters={"peak_bytes": 81e6, "messages": 12}, budgets={"peak_bytes": 64e6, "messages": 14})
    assert "81 MB at the peak (budget 64 MB), too much. 12 messages (budget 14)." in plain(report.html(v))


@pytest.mark.parametrize(("name", "value", "says"), [
    ("steps", 6, "6 steps, one after the other"), ("bytes_per_rank", 4096, "4.1 kB sent by the busiest rank"),
    ("slow_bytes", 0, "0 bytes over the busiest slow link"), ("loopback_bytes", 2.5e6, "2.5 MB over the loopback"),
    ("seconds", 4.2e-5, "42 µs on the α–β clock"), ("seconds", 1.5, "1.5 s on"), ("odd_bytes", 3, "3 bytes odd"), ("odd", 3, "odd: 3")])
def test_counters_in_words(name: str, value: float, says: str) -> None:
    assert says in one_line(verdict(counters={name: value}))


def test_a_scaling_efficiency_in_words() -> None:
    scaling = speedup(target="efficiency", versus="independent_copies", ratio=0.973, low=0.95, high=0.99, start=0.6, full=0.85)
    said = one_line(verdict(measured=[scaling]))
    assert "97.3 % of what this machine allows, the independent copies" in said and "full credit from 0.85)" in said


def test_a_slow_answer_is_slower_and_has_part_of_the_credit() -> None:
    said = one_line(verdict(Outcome.PARTIAL, measured=[speedup(ratio=0.5, low=0.4, high=0.6, credit=0.25)]))
    assert "2.00× slower than the six loops" in said and "25 % of it" in said


def test_a_wall_time_is_of_all_cores() -> None:
    assert "on all cores" in one_line(verdict(measured=[speedup(clock="wall")], roofline=ROOF))


def test_no_interval_yet() -> None:
    v = verdict(Outcome.TOO_NOISY, measured=[speedup(low=0.0, high=math.inf, samples=[(1e-3, 0.4)] * 2, credit=0)])
    assert "no interval yet, 2 pairs" in plain(report.html(v)) and "no interval yet, 2 pairs" in one_line(v)


def test_a_prediction() -> None:
    v = verdict(Outcome.PARTIAL, exercise="patch_expansion", predicted=Predicted(value=12, truth=9, unit="×"), message="Nine windows.")
    assert "You said 12×, it is 9×. Nine windows." in plain(report.html(v))


def test_a_prediction_is_said_once_and_explained() -> None:
    v = verdict(exercise="patch_expansion", predicted=Predicted(value=9, truth=9, unit="×"), hint="Nine.",
                message="You predicted 9 ×; it is 9 ×.")
    for said in (plain(report.html(v)), one_line(v)):
        assert "predicted" not in said and "it is 9×." in said and "Why" in said and "Hint" not in said


def test_a_hint_is_a_hint_only_where_something_is_missing() -> None:
    for outcome, word in ((Outcome.PASS, "Why"), (Outcome.PARTIAL, "Why"), (Outcome.WRONG, "Hint")):
        v = verdict(outcome, hint="Think.")
        assert f"{word}.Think." in plain(report.html(v)) and f"{word}: Think." in report.text(v)


def test_an_open_exercise_says_what_to_do_at_the_desk() -> None:
    v = verdict(Outcome.NOT_ATTEMPTED, message="`im2col` is still open.", evidence={"purpose": "desk"})
    todo = "Fill in the cell of im2col above, run it, then run this cell again."
    assert todo in plain(report.html(v)) and todo in one_line(v).replace("`", "")
    assert "Fill in" not in report.html(v.model_copy(update={"evidence": {"purpose": "grade"}}))
    assert "Fill in" not in report.html(verdict(Outcome.NOT_ATTEMPTED, message="Run the cell of `im2col` first, then this one."))


@pytest.mark.parametrize(("value", "said"), [(412.4, "412"), (41.24, "41.2"), (4.124, "4.12"), (0.4124, "0.41"), (0.04124, "0.041"),
                                             (99.96, "100"), (0.0, "0.00"), (12345, "12\u202f345"), (2e-5, "2.0e-05"), (math.inf, "∞")])
def test_numbers_have_the_digits_that_matter(value: float, said: str) -> None:
    assert theme.number(value) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 bytes"), (1, "1 byte"), (64e6, "64 MB"), (41_234_567, "41.2 MB"), (2.5e9, "2.5 GB")])
def test_sizes(count: float, said: str) -> None:
    assert theme.size(count) == said


# ----------------------------------------------------------------------------------------------------------- hostility


def test_hostile_text_stays_text() -> None:
    v = verdict(Outcome.WRONG, exercise=HOSTILE, lab=HOSTILE, message=HOSTILE, hint=HOSTILE, notes=[HOSTILE], output=HOSTILE, jail=HOSTILE,
                measured=[speedup(versus="<script>", target="<b>")], roofline=ROOF, predicted=Predicted(value=1, truth=2, unit=HOSTILE),
                counters={HOSTILE: 1.0}, evidence={HOSTILE: [HOSTILE]})
    for shown in (report.html(v), report.measured_table([v])):
        root = ET.fromstring(shown)                              # well-formed: nothing broke out of its element
        tags = {re.sub(r"\{.*\}", "", e.tag) for e in root.iter()}
        assert not tags & {"script", "img", "iframe", "a"}
        assert not any(name.startswith("on") for e in root.iter() for name in e.attrib)
        assert "\x1b" not in shown and "\u202e" not in shown
    assert "\x1b" not in report.text(v) and "\x07" not in report.text(v) and "<script>" in report.text(v)


@pytest.mark.parametrize("picture", [
    "<svg><script>alert(1)</script></svg>", "<svg onload='alert(1)'/>", "<img src=x>", "<svg><style>*{}</style></svg>",
    "<svg><foreignObject/></svg>", "<svg><image href='javascript:alert(1)'/></svg>"])
def test_a_picture_that_is_more_than_a_drawing_is_left_out(picture: str) -> None:
    shown = report.html(verdict(picture=picture))
    assert "alert" not in shown and "left out" in shown and picture not in shown


def test_a_drawing_is_shown() -> None:
    assert '<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>' in report.html(verdict(picture='<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>'))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_reports_hold_no_javascript_and_only_scoped_style(outcome: Outcome) -> None:
    shown = report.html(verdict(outcome, measured=[speedup()], roofline=ROOF))
    ET.fromstring(shown)
    assert "<script" not in shown and "javascript:" not in shown and "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", shown)
    rules = re.findall(r"([^{}]+)\{", theme.css())
    assert rules and all(selector.strip().startswith(".hpml") for rule in rules for selector in rule.split(","))


@given(st.text(max_size=300), st.text(max_size=300))
def test_plain_text_fits_eighty_columns(message: str, output: str) -> None:
    shown = report.text(FULL.model_copy(update={"message": message, "output": output, "hint": message, "notes": [output]}))
    assert all(cell_len(line) <= 80 for line in shown.split("\n"))
    assert not any(ord(c) < 32 and c != "\n" for c in shown)


def test_no_line_breaks_inside_a_number() -> None:
    for words in range(60, 80):
        assert "12\u202f345" in report.text(verdict(Outcome.WRONG, message="x" * words + " 12\u202f345"))


# -------------------------------------------------------------------------------------------------------------- tables


def test_ruler_marks_start_full_and_ratio() -> None:
    line, below = report._ruler(speedup(ratio=60, low=50, high=70))
    assert line.count("|") == 2 and line.index("|") < line.index("=") < line.index("o") < line.rindex("=") < line.rindex("|")
    assert "start 20" in below and "full 200" in below


def test_table_adds_up_and_takes_no_markup_from_anyone() -> None:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(report.table([FULL, verdict(Outcome.WRONG, exercise="x", score=0, max_score=4, message="[bold]no[/bold]", seconds=1)]))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "6/10" in shown and "[bold]no[/bold]" in shown and "✗ wrong" in shown and "412× faster than the six loops" in shown


def test_what_you_measured() -> None:
    shown = plain(report.measured_table([FULL]))
    for part in ("speed-up over the six loops412×95 % interval 398–427, 24 pairs", "45.0 GFLOP/s29 % of the matrix peak", "you said 60 %",
                 "copied0 bytesbudget 0 bytes"):
        assert part in shown
    assert "Nothing is measured yet" in report.measured_table([verdict(Outcome.NOT_ATTEMPTED)])
