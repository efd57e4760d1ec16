"""The class report as an instructor sees it: on a terminal, and as one HTML page that needs no network and no script."""

from __future__ import annotations

import statistics
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpml import plots, theme
from hpml.grade.classroom import Computer, Report, Speed
from hpml.grade.feedback import environment
from hpml.verdict import Outcome


def show(report: Report, console: Console | None = None) -> None:
    """The report on a terminal."""
    console = console or Console()
    said, lab = report.summary(), report.lab
    low, middle, high = said["scores"]["quartiles"]
    number = theme.plain

    def table(title: str, *columns: str) -> Table:
        made = Table(title=Text(title), title_justify="left")
        for word in columns:
            made.add_column(Text(word))
        return made

    console.print(Text(f"{lab.lab}: {lab.title}\n{said['students']} students; of {number(lab.points)} points the median has "
                       f"{number(middle)}, the middle half {number(low)} to {number(high)}, all {number(said['scores']['least'])} to "
                       f"{number(said['scores']['most'])}. Something is pending for {len(report.pending)}."), soft_wrap=True)
    made = table("Exercises, the most failed first", "exercise", "failed", "of the points", "outcomes", "why")
    for t in report.troubles:
        made.add_row(Text(t.exercise), str(t.failed), "" if t.mean is None else f"{100 * t.mean:.0f} %",
                     Text("  ".join(f"{theme.LOOKS[Outcome(o)].symbol}\u00a0{n}" for o, n in t.outcomes.items())),
                     Text(theme.visible("\n".join(f"{n}× {reason}" for reason, n in t.why))))
    console.print(made)
    seen = [o for o in Outcome if any(o in t.outcomes for t in report.troubles)]
    console.print(Text("   ".join(f"{theme.LOOKS[o].symbol} {o}" for o in seen)), style="dim")
    for student, why in report.unread.items():
        console.print(Text(theme.visible(f"{student}: {why}")), soft_wrap=True)
    if report.speeds:
        made = table("Speed", "exercise", "what", "students", "slowest", "median", "fastest", "full credit")
        for s in report.speeds:
            made.add_row(Text(s.exercise), Text(f"{s.target}: {theme.called(s.versus)}"), str(len(s.rows)), theme.number(s.rows[0][1]),
                         theme.number(s.median), theme.number(s.rows[-1][1]), f"{s.reached} (from {number(s.full)})")
        console.print(made)
    if report.flags or report.pairs:
        made = table("To look at: hints, no proofs", "who", "where", "what")
        for f in report.flags:
            made.add_row(Text(theme.visible(f.student)), Text(f.exercise), Text(theme.visible(f.what)))
        for p in report.pairs:
            made.add_row(Text(theme.visible(f"{p.one}, {p.other}")), Text(", ".join(p.exercises)),
                         Text(f"near-identical: {100 * p.share:.0f} % of what is their own and rare"))
        console.print(made)
    if report.computers:
        made = table("Machines", "machine", "verdicts", "jail", "A/A controls", "too noisy")
        for c in report.computers:
            made.add_row(Text(c.name), str(c.verdicts), Text(", ".join(c.jails)), Text(control(c)), str(c.noisy))
        console.print(made)


def control(computer: Computer) -> str:
    """The A/A controls of a machine in words."""
    ratios = [ratio for ratio, _, _ in computer.controls]
    if not ratios:
        return "none: nothing was timed by processor time"
    return f"{len(ratios)}: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f} (1 is right)"


# -------------------------------------------------------------------------------------------------------------------- HTML


def scores_plot(report: Report) -> str:
    """Histogram of the points, with the median."""
    points, most = list(report.scores.values()), report.lab.points
    drawn, ax = plots.figure(6.4, 2.6)
    bins = min(21, max(6, round(most) + 1))
    ax.hist(points, bins=[most * i / bins for i in range(bins)] + [most], color=theme.BLUE, edgecolor="white", linewidth=0.8)
    middle = statistics.median(points)
    ax.axvline(middle, color=theme.VERMILLION, linestyle="--", linewidth=1.8)
    ax.annotate(f" median {theme.plain(middle)}", (middle, 1.0), xycoords=("data", "axes fraction"), va="bottom",
                ha="left" if middle < most / 2 else "right", color=plots.INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    ax.set(xlim=(0, most), xlabel="points", ylabel="students")
    return plots.svg(drawn, f"Points of {len(points)} students: median {theme.plain(middle)} of {theme.plain(most)}")


def speed_plot(speed: Speed) -> str:
    """Every student's ratio with its interval, the slowest left; where credit starts and where it is full."""
    drawn, ax = plots.figure(6.4, 3.0)
    ratios = [row[1] for row in speed.rows]
    low = [max(0.0, r - lo) if lo > 0 else 0.0 for _, r, lo, _ in speed.rows]
    high = [max(0.0, hi - r) if hi < float("inf") else 0.0 for _, r, _, hi in speed.rows]
    ax.errorbar(range(1, len(ratios) + 1), ratios, yerr=[low, high], fmt="o", markersize=5, linewidth=0, elinewidth=1.4, color=theme.BLUE)
    for level, word, style in ((speed.start, "start", ":"), (speed.full, "full", "--")):
        ax.axhline(level, color=plots.INK, linestyle=style, linewidth=1.3)
        ax.annotate(f" {word} {theme.plain(level)}", (1.0, level), xycoords=("axes fraction", "data"), va="center", color=plots.INK)
    ax.set_yscale("log")
    least, top = min([*ratios, speed.start]) / 1.5, max([*ratios, speed.full]) * 1.5
    plots._log_axis(ax.yaxis, least, top)
    ax.set(ylim=(least, top), xlim=(0.4, len(ratios) + 0.6), xlabel="students, the slowest first", ylabel="their time / the student's")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return plots.svg(drawn, f"{speed.exercise}: median {theme.number(speed.median)}, {speed.reached} of {len(ratios)} with full credit")


def html(report: Report) -> str:
    """The whole page. Everything that comes from students is escaped."""
    said = report.summary()
    troubles: list[dict[str, Any]] = []
    for t in report.troubles:
        count = sum(t.outcomes.values())
        bars = [{"outcome": o, "n": n, "share": 100 * n / count, "colour": theme.LOOKS[Outcome(o)].colour,
                 "symbol": theme.LOOKS[Outcome(o)].symbol} for o, n in t.outcomes.items()]
        troubles.append({"name": t.exercise, "failed": t.failed, "mean": t.mean, "bars": bars, "why": t.why})
    speeds = [{"speed": s, "what": theme.called(s.versus), "plot": Markup(speed_plot(s))} for s in report.speeds]
    return environment().get_template("classroom.html.j2").render(
        lab=report.lab, report=report, said=said, scores=Markup(scores_plot(report)), troubles=troubles, speeds=speeds,
        computers=[(c, control(c)) for c in report.computers], css=Markup(theme.css()))
