"""The page that a student gets back: one HTML file that needs no network and no script, and prints well.

Shown are the student's own answers, the verdicts with their plots and hints, and what an instructor wrote. Hidden inputs, seeds and
the instructors' cells are not in it. Everything is escaped.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hpml import theme
from hpml.grade.collect import Release, Submission
from hpml.grade.record import Marks, total
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
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    made = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters["prose"] = lambda text: Markup(theme.prose(text))
    made.filters["visible"] = theme.visible
    made.filters["points"] = theme.plain
    return made.get_template("feedback.html.j2")


def _answer(found: Submission, name: str) -> str:
    """The answer as it was handed in; a prediction is in its verdict already."""
    for cell in found.notebook.cells if found.notebook else ():
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name and name not in found.problems:
            return str(cell.source)
    return ""


def _flowing(markdown: str) -> str:
    """Text without the line breaks that markdown ignores too; lists, tables, headings and paragraphs stay."""
    return re.sub(r"(?<!\n)\n(?![\s*+#>|-]|\d+[.)])", " ", markdown)


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
            "answer": _answer(found, name) if entry.kind == "code" else _flowing(_answer(found, name)) if entry.kind == "manual" else "",
        })
    for row in rows:
        row["shown"] = bool(row["report"] or row["comment"] or (row["manual"] and not found.fault))
    share = total(marks) / lab.points if lab.points else 0.0
    return _template().render(lab=lab, student=found.student, rows=rows, total=total(marks), share=max(0.0, min(1.0, share)),
                              fault=found.fault, notes=found.notes, when=found.timestamp, pending=[r["name"] for r in rows if r["pending"]],
                              css=Markup(theme.css()))
