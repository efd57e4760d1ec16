"""The page that a student gets back: one HTML file that needs no network and no script, and prints well.

Shown are the student's own answers, the verdicts with their plots and hints, and what an instructor wrote. Hidden inputs, seeds and
the instructors' cells are not in it, and what earns the points of a text is told only after a person has read it. Everything is
escaped.
"""

from __future__ import annotations

import datetime
import functools
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hpml import theme
from hpml.build import write
from hpml.course import Lab
from hpml.grade import reading
from hpml.grade.collect import Release, Submission
from hpml.grade.record import Late, Marks, total
from hpml.verdict import Outcome, Verdict

SECRET = ("seed",)              # of a verdict's evidence


def shown(verdict: Verdict) -> Verdict:
    """The verdict without what would tell the hidden inputs."""
    return verdict.model_copy(update={"evidence": {k: v for k, v in verdict.evidence.items() if k not in SECRET}})


def sections(handed_out: Release) -> dict[str, str]:
    """Exercise → heading of the lab's section that it stands in."""
    found: dict[str, str] = {}
    heading = handed_out.lab.title
    for cell in handed_out.notebook.cells:
        if cell.cell_type == "markdown" and (titles := re.findall(r"^#{1,2} +(.+?)\s*#*$", cell.source, re.MULTILINE)):
            heading = titles[-1]
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in handed_out.lab.exercises:
            found[name] = heading
    return found


def anchor(heading: str) -> str:
    """JupyterLab's anchor of a heading."""
    return re.sub(r"\s", "-", unicodedata.normalize("NFC", heading))


@functools.cache
def environment() -> jinja2.Environment:
    """For the pages of this folder: everything is escaped."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    made = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters["prose"] = lambda text: Markup(theme.prose(text))
    made.filters["visible"] = theme.visible
    made.filters["points"] = theme.plain
    made.filters["number"] = theme.number
    return made


def _template() -> jinja2.Template:
    return environment().get_template("feedback.html.j2")


def _answer(found: Submission, name: str) -> str:
    """The answer as it was handed in; a prediction is in its verdict already."""
    for cell in found.notebook.cells if found.notebook else ():
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name and name not in found.problems:
            return str(cell.source)
    return ""


def _flowing(markdown: str) -> str:
    """Text without the line breaks that markdown ignores too; lists, tables, headings and paragraphs stay."""
    return re.sub(r"(?<!\n)\n(?![\s*+#>|-]|\d+[.)])", " ", markdown)


def when(moment: datetime.datetime) -> str:
    """A time of the gradebook (UTC) for people."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """45 minutes, 3 hours, 2 days and 5 hours."""
    minutes = max(1, round(seconds / 60))
    days, hours = divmod(round(minutes / 60), 24)
    parts = ([(minutes, "minute")] if minutes < 120 else [(days, "day"), (hours, "hour")])
    return " and ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in parts if n)


def lateness(late: Late) -> str:
    """When it was due and what came of that, in a sentence or two; "" where there is no such date."""
    if late.due is None:
        return ""
    said = f"Due {when(late.due)}" + (f", with your extension of {duration(late.extension.total_seconds())}" if late.extension else "")
    if not late.seconds:
        return f"{said}."
    taken = (f"{theme.plain(late.penalty)} point{'' if late.penalty == 1 else 's'} taken off for that" if late.penalty
             else "nothing is taken off for that")
    return f"{said}; handed in {duration(late.seconds)} late, {taken}."


def for_exchange(course: Path, student: str, lab: str) -> bool:
    """Put beside a page what `nbgrader release_feedback` needs to know for whom it is. False where it did not come by the exchange."""
    source, place = course / "submitted" / student / lab, course / "feedback" / student / lab
    try:
        kept = {name: reading.small(source / name, source) for name in ("timestamp.txt", "submission_secret.txt")}
    except (OSError, RuntimeError, reading.Unreadable):
        for name in ("timestamp.txt", "submission_secret.txt"):         # of an earlier submission
            (place / name).unlink(missing_ok=True)
        return False
    for name, content in kept.items():
        write(place / name, content)
    return True


def waiting(course: Path, student: str, lab: Lab, notice: str) -> None:
    """A page for a submission that is not graded yet, in place of the one about an earlier submission."""
    text = _template().render(lab=lab, student=student, rows=[], total=None, share=0.0, fault=None, notes=[], when=None, pending=[],
                              due="", penalty=0.0, notice=notice, css=Markup(theme.css()))
    write(course / "feedback" / student / lab.lab / f"{lab.lab}.html", text.encode())
    for_exchange(course, student, lab.lab)


def add_notice(course: Path, student: str, lab: str, notice: str) -> None:
    """Say something more on top of a page that is there."""
    path = course / "feedback" / student / lab / f"{lab}.html"
    said = f'<div class="say" role="note"><p>{theme.prose(notice)}</p></div>\n</header>'
    write(path, path.read_text(encoding="utf-8").replace("</header>", said, 1).encode())


def page(found: Submission, handed_out: Release, verdicts: Mapping[str, Verdict], reports: Mapping[str, str], marks: Marks) -> str:
    """The whole page of one student. `reports`: exercise → the HTML of its verdict, as `shown`."""
    lab, where = handed_out.lab, sections(handed_out)
    rows: list[dict[str, Any]] = []
    for name, entry in lab.exercises.items():
        verdict, mark = verdicts.get(name), marks.get(name)
        look = theme.LOOKS[verdict.outcome] if verdict else None
        read = mark is not None and mark.by_hand and not mark.pending
        rows.append({
            "name": name, "max": entry.points, "score": mark.score if mark else None, "pending": mark is None or mark.pending,
            "by_hand": read, "comment": mark.comment if mark else None, "manual": entry.kind == "manual",
            "outcome": "graded by hand" if read else str(verdict.outcome) if verdict else "not graded yet",
            "symbol": "✎" if read else look.symbol if look else "…", "section": where[name],
            "tone": theme.BLUE if read or not look else look.colour,
            "link": f"../../{lab.lab}.ipynb#{anchor(where[name])}",
            "report": None if verdict is None or found.fault or (entry.kind == "manual" and verdict.outcome is Outcome.NEEDS_MANUAL)
            else Markup(reports[name]),
            "answer": "" if verdict and verdict.outcome is Outcome.NOT_ATTEMPTED else _answer(found, name) if entry.kind == "code"
            else _flowing(_answer(found, name)) if entry.kind == "manual" else "",
        })
    for row in rows:
        row["shown"] = bool(row["report"] or row["comment"] or (row["manual"] and not found.fault))
    share = total(marks) / lab.points if lab.points else 0.0
    return _template().render(lab=lab, student=found.student, rows=rows, total=total(marks), share=max(0.0, min(1.0, share)),
                              fault=found.fault, notes=found.notes, when=found.timestamp, pending=[r["name"] for r in rows if r["pending"]],
                              due=lateness(marks.late), penalty=marks.late.penalty, notice=None, css=Markup(theme.css()))
