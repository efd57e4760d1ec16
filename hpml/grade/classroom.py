"""`hpml report`: one lab of a class for its instructor: scores, speed, what failed and why, what to look at, the machines.

It only reads: gradebook, verdicts with their evidence, and the sanitised notebooks. On the terminal, as JSON, or as one HTML page.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpml import course
from hpml.build import write
from hpml.course import CourseError, Lab
from hpml.grade import collect, exports, similar
from hpml.grade.journal import Journal
from hpml.grade.record import Marks, total
from hpml.verdict import Outcome, Verdict

FAILED = (Outcome.WRONG, Outcome.MALFORMED, Outcome.TIMEOUT, Outcome.OUT_OF_MEMORY, Outcome.CRASHED, Outcome.TAMPERED)
PROBABLE = 3                            # how many reasons are named for each exercise


@dataclass(frozen=True)
class Speed:
    """One measured target across the class: (student, ratio, low, high), the slowest first."""

    exercise: str
    target: str
    versus: str
    start: float
    full: float
    rows: list[tuple[str, float, float, float]]

    @property
    def median(self) -> float:
        return statistics.median(row[1] for row in self.rows)

    @property
    def reached(self) -> int:
        """How many have full credit for certain."""
        return sum(low >= self.full for _, _, low, _ in self.rows)


@dataclass(frozen=True)
class Trouble:
    """How one exercise went. `mean` is the share of its points, of those who have a score; `why` are (reason, how many)."""

    exercise: str
    outcomes: dict[str, int]
    failed: int
    mean: float | None
    why: list[tuple[str, int]]


@dataclass(frozen=True)
class Flag:
    """Something that a person should look at."""

    student: str
    exercise: str
    what: str


@dataclass(frozen=True)
class Computer:
    """A machine that judged: how many verdicts, and its A/A controls (the same work against itself; 1 is right)."""

    name: str
    verdicts: int
    jails: list[str]
    versions: list[str]
    controls: list[tuple[float, float, float]]          # ratio, low, high
    noisy: int                                          # verdicts that ended as too noisy there


@dataclass(frozen=True)
class Report:
    """What the page shows. By student: points so far, why nothing could be read, exercises that are pending, points taken off."""

    lab: Lab
    scores: dict[str, float]
    unread: dict[str, str]
    pending: dict[str, list[str]]
    late: dict[str, float]
    speeds: list[Speed]
    troubles: list[Trouble]
    flags: list[Flag]
    pairs: list[similar.Pair]
    computers: list[Computer]

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        points = list(self.scores.values())
        spread = statistics.quantiles(points, n=4, method="inclusive") if len(points) > 1 else points * 3
        return {"lab": self.lab.lab, "students": len(points), "max": self.lab.points,
                "scores": {"by_student": self.scores, "mean": statistics.fmean(points), "quartiles": spread,
                           "least": min(points), "most": max(points)},
                "unread": self.unread, "pending": self.pending, "late_penalties": self.late,
                "speeds": [{**asdict(s), "median": s.median, "full_credit": s.reached} for s in self.speeds],
                "exercises": [asdict(t) for t in self.troubles], "flags": [asdict(f) for f in self.flags],
                "alike": [asdict(p) for p in self.pairs], "machines": [asdict(c) for c in self.computers]}


Verdicts = Mapping[str, Mapping[str, Verdict]]          # student → exercise → verdict


def _reason(verdict: Verdict) -> str:
    """What went wrong, in a sentence; the numbers of one student are left out, so that equal reasons are equal."""
    said = verdict.hint or re.sub(r"(?<![\w.])-?\d[\d.,]*(e[+-]?\d+)?", "…", verdict.message)
    first = re.split(r"(?<=[.!?])\s", said)[0]
    return f"{verdict.outcome}: {first[:200]}"


def unread(verdicts: Verdicts) -> dict[str, str]:
    """Student → why, for submissions of which nothing could be read: one reason, not one an exercise."""
    said = {student: {v.message if v.outcome is Outcome.MALFORMED else "" for v in those.values()} for student, those in verdicts.items()}
    return {student: messages.pop() for student, messages in said.items() if len(messages) == 1 and messages != {""}}


def troubles(lab: Lab, verdicts: Verdicts, classes: Mapping[str, Marks]) -> list[Trouble]:
    """Every exercise; the most failed first."""
    found = []
    for name, entry in lab.exercises.items():
        those = [v[name] for v in verdicts.values() if name in v]
        scores = [m[name].score for m in classes.values() if name in m]
        known = [s for s in scores if s is not None]
        failed = [v for v in those if v.outcome in FAILED]
        outcomes = collections.Counter(str(v.outcome) for v in those)
        why = collections.Counter(map(_reason, failed)).most_common(PROBABLE)
        mean = statistics.fmean(known) / entry.points if known else None
        found.append(Trouble(name, dict(outcomes.most_common()), len(failed), mean, why))
    return sorted(found, key=lambda t: -t.failed)


def speeds(lab: Lab, verdicts: Verdicts) -> list[Speed]:
    rows: dict[tuple[str, str], list[tuple[str, float, float, float]]] = collections.defaultdict(list)
    about = {}
    for student, those in verdicts.items():
        for name, verdict in those.items():
            for m in verdict.measured:
                if m.ratio > 0:
                    rows[name, m.target].append((student, m.ratio, m.low, m.high))
                    about[name, m.target] = m
    order = list(lab.exercises)
    return [Speed(name, target, m.versus, m.start, m.full, sorted(rows[name, target], key=lambda row: row[1]))
            for (name, target), m in sorted(about.items(), key=lambda item: order.index(item[0][0]))]


def flags(verdicts: Verdicts) -> list[Flag]:
    """Stopped by a guard, faster than the machine allows, or changed after grading."""
    from hpml.referee import evidence
    found = []
    for student, those in verdicts.items():
        for name, verdict in those.items():
            if verdict.outcome is Outcome.TAMPERED:
                found.append(Flag(student, name, f"stopped by a guard: {verdict.message}"))
            if "below_floor" in verdict.evidence:
                share = verdict.evidence["below_floor"]
                said = f" ({share:.2f} of it)" if isinstance(share, float) else ""
                found.append(Flag(student, name, f"faster than the least work that the exercise takes on this machine{said}"))
            if evidence.verified(verdict) is False:
                found.append(Flag(student, name, "its evidence file was changed after grading, or signed with another key"))
    return found


def computers(verdicts: Verdicts) -> list[Computer]:
    those: dict[str, list[Verdict]] = collections.defaultdict(list)
    for v in (v for by in verdicts.values() for v in by.values()):
        if "machine" in v.evidence:
            those[str(v.evidence["machine"])].append(v)
    found = []
    for name, of in sorted(those.items()):
        controls = [(float(c["ratio"]), float(c["low"]), float(c["high"])) for v in of if isinstance(c := v.evidence.get("control"), dict)]
        versions = {f"{p} {n}" for v in of for p, n in {"python": v.evidence.get("python", "?"), **v.evidence.get("versions", {})}.items()}
        found.append(Computer(name, len(of), sorted({v.jail for v in of}), sorted(versions), controls,
                              sum(v.outcome is Outcome.TOO_NOISY for v in of)))
    return found


def answers(folder: Path, student: str, handed_out: collect.Release) -> dict[str, str]:
    """Exercise → answer, where there is one, from the sanitised notebook."""
    import nbformat
    lab = handed_out.lab
    try:
        notebook = nbformat.read(folder / "autograded" / student / lab.lab / f"{lab.lab}.ipynb", as_version=4)
    except (OSError, ValueError, nbformat.ValidationError):
        return {}
    found = {str(c.metadata.get("nbgrader", {}).get("grade_id")): str(c.source) for c in notebook.cells}
    return {name: found[name] for name, entry in lab.exercises.items()
            if name in found and entry.kind != "predict" and not handed_out.untouched(name, found[name])}


def alike(folder: Path, students: list[str], handed_out: collect.Release) -> list[similar.Pair]:
    texts = [name for name, entry in handed_out.lab.exercises.items() if entry.kind == "manual"]
    given: set[int] = set()
    for cell in handed_out.notebook.cells:
        given |= similar.prints(similar.code(cell.source)) if cell.cell_type == "code" else similar.prints(similar.words(cell.source), 5)
    return similar.pairs({s: similar.of(answers(folder, s, handed_out), texts) for s in students}, given)


def read(folder: Path, lab: Lab, db: str | None = None) -> Report:
    """Everything about one lab of the class. Raises CourseError where nothing is graded."""
    classes = exports.read(folder, (lab,), db).classes[lab.lab]
    kept = Journal(folder, lab)
    verdicts: dict[str, dict[str, Verdict]] = {}
    for student in sorted(classes):         # pictures are the bulk of a verdict
        verdicts[student] = {name: entry[1].model_copy(update={"picture": None}) for name in lab.exercises
                             if (entry := kept.load(student, name))}
    pending = {s: [name for name, m in marks.items() if m.pending] for s, marks in sorted(classes.items())}
    lost = unread(verdicts)
    readable = {s: those for s, those in verdicts.items() if s not in lost}
    return Report(lab, {s: total(marks) for s, marks in sorted(classes.items())}, lost, {s: names for s, names in pending.items() if names},
                  {s: m.late.penalty for s, m in sorted(classes.items()) if m.late.penalty},
                  speeds(lab, verdicts), troubles(lab, readable, {s: classes[s] for s in readable}), flags(verdicts),
                  alike(folder, sorted(classes), collect.release(lab, folder)), computers(verdicts))


def main(argv: list[str]) -> int:
    """Run `hpml report`. Returns 0, or 2 if it was called in a wrong way."""
    parser = argparse.ArgumentParser(prog="hpml report", description="One lab of a class, for its instructor.",
                                     epilog="Example: hpml report 04-conv-gemm --course ~/course --html report.html")
    parser.add_argument("lab")
    parser.add_argument("--course", type=Path, default=Path(), metavar="DIR", help="the course folder; default: here")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as one HTML page that needs no network")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--db", metavar="URL", help="the gradebook; default: the course folder's")
    options = parser.parse_args(argv)
    from hpml.grade import classpage
    try:
        report = read(options.course.expanduser().resolve(), course.load().lab(options.lab), options.db)
        if options.html:
            write(options.html, classpage.html(report).encode())
    except (CourseError, OSError) as e:
        print(f"hpml report: {e}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(_finite(report.summary()), indent=1))
    elif options.html:
        print(f"{options.html}: {report.lab.lab}, {len(report.scores)} students.")
    else:
        classpage.show(report)
    return 0


def _finite(value: Any) -> Any:
    """JSON has no infinity: an open end of an interval becomes null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value
