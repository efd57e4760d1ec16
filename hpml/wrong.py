"""`hpml check LAB --wrong`: every file of `wrong/` must fail exactly the check that it names, for the reason that it gives."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpml import exercise, source
from hpml.course import CourseError, Lab, nearest
from hpml.referee.client import Referee
from hpml.verdict import Outcome, Verdict


@dataclass(frozen=True)
class Wrong:
    """A wrong answer. Its file begins with `# exercise:`, `# outcome:`, `# shows:` (part of the message or hint), `# why:`."""

    path: Path
    exercise: str
    outcome: Outcome
    shows: str
    why: str
    source: str


def read(lab: Lab) -> list[Wrong]:
    """All files of a lab's wrong/, checked. Raises CourseError naming the file."""
    return [parse(path, lab) for path in sorted((lab.folder / "wrong").glob("*.py"))]


def parse(path: Path, lab: Lab) -> Wrong:
    body = path.read_text(encoding="utf-8")
    head = dict(re.findall(r"^# (exercise|outcome|shows|why):[ ]*(.+)$", body, re.M))
    for key in ("exercise", "outcome", "shows", "why"):
        if key not in head:
            raise CourseError(f"{path}: the header has no `# {key}: …`")
    if head["exercise"] not in lab.exercises:
        raise CourseError(f"{path}: no exercise {head['exercise']!r}{nearest(head['exercise'], list(lab.exercises))}")
    if head["outcome"] not in list(Outcome):
        raise CourseError(f"{path}: no outcome {head['outcome']!r}{nearest(head['outcome'], [str(o) for o in Outcome])}")
    return Wrong(path, head["exercise"], Outcome(head["outcome"]), head["shows"].strip(), head["why"].strip(), body)


def dependents(lab: Lab, name: str) -> list[str]:
    """Exercises that build on `name`, in the order of the manifest."""
    declared = exercise.load(lab)
    return [n for n in lab.exercises if n in declared and name in declared[n].uses]


def complaints(wrong: Wrong, verdicts: list[Verdict]) -> list[str]:
    """What is not as the file says; empty if all is."""
    out = []
    for v in verdicts:
        if v.exercise != wrong.exercise:
            if not (v.passed or v.outcome.pending):
                out.append(f"{v.exercise} fails too: {v.outcome}")
            continue
        said = f"{v.message} {v.hint or ''} {' '.join(v.notes)}"
        if v.outcome != wrong.outcome:
            out.append(f"outcome is {v.outcome}, not {wrong.outcome}: {v.message}")
        elif wrong.shows not in said:
            out.append(f"{wrong.shows!r} is not in: {said}")
    return out


def check_wrong(lab: Lab, referee: Referee, as_json: bool) -> int:
    """Run all wrong answers of a lab; print a table or JSON; 0 if each fails as it should."""
    answers = source.read(lab).answers
    rows: list[dict[str, Any]] = []
    for wrong in read(lab):
        verdicts = referee.judge(lab.lab, answers | {wrong.exercise: wrong.source}, [wrong.exercise, *dependents(lab, wrong.exercise)])
        own = next(v for v in verdicts if v.exercise == wrong.exercise)
        rows.append({"file": wrong.path.name, "exercise": wrong.exercise, "outcome": str(own.outcome), "score": own.score,
                     "max_score": own.max_score, "message": own.message, "hint": own.hint, "problems": complaints(wrong, verdicts)})
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        from rich.console import Console
        from rich.markup import escape
        console = Console(highlight=False)
        for r in rows:
            mark = "[red]✗[/]" if r["problems"] else "[green]✓[/]"
            console.print(f"{mark} [bold]{r['file']}[/]  {r['exercise']}: {r['outcome']}, {r['score']:g} of {r['max_score']:g}")
            for text in filter(None, (r["message"], r["hint"])):
                console.print(f"    {escape(text)}", soft_wrap=True)
            for text in r["problems"]:
                console.print(f"    [red]{escape(text)}[/]", soft_wrap=True)
    return 1 if any(r["problems"] for r in rows) or not rows else 0
