"""The live view of a run: what the ranks say, each line with its rank, and a progress bar with rate and time left."""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
MOST_LINES = 2000               # of one run in the view; a browser does not bear more, and the logs have all of them
REFRESH_SECONDS = 0.1


class Rate(ProgressColumn):
    """Units a second, over the last moments."""

    def render(self, task: Task) -> Text:
        return Text(rate(task))


def rate(task: Task) -> str:
    return f"{speed:.3g}/s" if (speed := task.finished_speed or task.speed) else ""


class View:
    """In a terminal. Without one (a file, a pipe) the lines are the same and the bar is shown once, at the end."""

    def __init__(self, ranks: int, console: Console | None = None):
        self.ranks, self.lines = ranks, 0
        self.console = console or Console()
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
                            TextColumn("{task.fields[shown]}"), console=self.console)
        self.task: Task | None = None
        self.teller = ranks

    def __enter__(self) -> View:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.task is not None:
            self.bar.stop()

    def line(self, rank: int, text: str) -> None:
        self.lines += 1
        if self.lines <= MOST_LINES:
            self.put(rank, text)
        elif self.lines == MOST_LINES + 1:
            self.put(rank, "… (this is too much to show: the rest is in the logs)")

    def put(self, rank: int, text: str) -> None:
        self.console.print(Text(f"[{rank}] ", style=COLOURS[rank % len(COLOURS)]) + Text(text), soft_wrap=True)

    def note(self, text: str) -> None:
        self.console.print(Text(text, style="dim"), soft_wrap=True)

    def begin(self) -> None:
        self.bar.start()                                # not before there is something to show

    def progress(self, rank: int, message: list[Any]) -> None:
        """One bar: that of the lowest rank which tells of its progress."""
        if rank > self.teller:
            return
        self.teller = rank
        done, total, fields = message
        shown = " ".join(f"{name} {value}" for name, value in fields.items())
        if self.task is None:
            self.begin()
            number = self.bar.add_task(f"{self.ranks} ranks" if self.ranks > 1 else "1 rank", total=total, shown=shown)
            self.task = next(t for t in self.bar.tasks if t.id == number)
        self.bar.update(self.task.id, completed=done, total=total, shown=shown)


class NotebookView(View):
    """In a notebook cell: lines as plain output, the bar as one display that is replaced."""

    def __init__(self, ranks: int):
        super().__init__(ranks, Console(force_jupyter=False, quiet=True))
        self.handle: Any = None
        self.drawn = 0.0

    def begin(self) -> None:
        """Its bar only keeps count of rate and time left."""

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.draw()

    def put(self, rank: int, text: str) -> None:
        print(f"[{rank}] {text}", flush=True)

    def note(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, rank: int, message: list[Any]) -> None:
        super().progress(rank, message)
        if time.monotonic() - self.drawn > REFRESH_SECONDS:
            self.draw()

    def draw(self) -> None:
        if self.task is None:
            return
        from IPython.display import display
        self.drawn, task = time.monotonic(), self.task
        left = "" if task.finished or task.time_remaining is None else f"{task.time_remaining:.0f} s left"
        words = [f"{task.completed:g}/{task.total:g}", rate(task), left, task.fields["shown"]]
        text = f"{task.description}: {' · '.join(w for w in words if w)}"
        bar = f"<progress max='{task.total:g}' value='{task.completed:g}' style='width: 20em'></progress> {html.escape(text)}"
        bundle = {"text/plain": text, "text/html": bar}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)


def best(ranks: int, to_stderr: bool = False) -> View:
    """The view for where we are."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is not None:
        return NotebookView(ranks)
    return View(ranks, Console(stderr=to_stderr))
