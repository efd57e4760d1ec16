"""What an instructor sees while a class is graded, and at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hpml import theme
from hpml.course import Lab
from hpml.verdict import Outcome

if TYPE_CHECKING:
    from hpml.grade import Graded


def _rate(done: int, began: float) -> str:
    return f"{60 * done / max(time.monotonic() - began, 1e-9):.3g} a minute"


def points(graded: Graded) -> str:
    from hpml.grade.record import total
    return theme.plain(total(graded.marks)) + ("+" if any(m.pending for m in graded.marks.values()) else "")


@contextmanager
def progress(lab: Lab, total: int) -> Iterator[Callable[[Graded], None]]:
    """A bar on a terminal, else a line per student; both on standard error."""
    console, began, done = Console(stderr=True), time.monotonic(), 0
    if not console.is_terminal:
        def line(graded: Graded) -> None:
            nonlocal done
            done += 1
            print(f"{done}/{total} {graded.student}: {points(graded)} of {theme.plain(lab.points)} points ({_rate(done, began)})",
                  file=sys.stderr, flush=True)
        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"Grading {lab.lab}", total=total, rate="")

        def step(graded: Graded) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, rate=_rate(done, began), description=f"Grading {lab.lab}: {theme.visible(graded.student)}")
        yield step


def cell(graded: Graded, name: str) -> Text:
    """One exercise of one student: a symbol and the points, in the colour of the outcome."""
    verdict, mark = graded.verdicts.get(name), graded.marks.get(name)
    if mark is None or (verdict is None and mark.score is None):
        return Text("…", style="dim")
    if mark.by_hand and not mark.pending:
        return Text(f"✎ {theme.plain(mark.score or 0.0)}")
    look = theme.LOOKS[verdict.outcome] if verdict else theme.LOOKS[Outcome.NEEDS_MANUAL]
    return Text(f"{look.symbol} {'?' if mark.score is None else theme.plain(mark.score)}")


def class_table(lab: Lab, graded: list[Graded], folder: Path, db: str, console: Console | None = None) -> None:
    """Print the class, what the symbols mean, and where everything lies."""
    from hpml.grade.record import _shown
    console = console or Console()
    table = Table(title=Text(f"{lab.lab}: {lab.title}"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("student", overflow="fold")
    for name, entry in lab.exercises.items():
        table.add_column(Text("\n".join([*name.split("_"), f"/{theme.plain(entry.points)}"])), vertical="bottom", no_wrap=True)
    table.add_column(Text(f"total\n/{theme.plain(lab.points)}"), justify="right", vertical="bottom", no_wrap=True)
    for g in graded:
        table.add_row(Text(theme.visible(g.student)), *(cell(g, name) for name in lab.exercises), Text(points(g)))
    console.print(table)
    outcomes = [o for o in Outcome if any(v.outcome is o for g in graded for v in g.verdicts.values())]
    console.print(Text("   ".join(f"{theme.LOOKS[o].symbol} {o}" for o in outcomes) + "   ? pending, + more to come"), style="dim")
    for g in graded:
        if g.fault:
            console.print(Text(f"{theme.visible(g.student)}: {theme.visible(g.fault)}"))
    places = {"gradebook": _shown(db), "table": folder / "grades.csv", "feedback": folder / "feedback",
              "evidence": folder / "graded" / lab.lab}
    for what, where in places.items():
        console.print(Text(f"{what:10} {where}"), soft_wrap=True)
