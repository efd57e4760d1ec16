"""`hpml bench grading`: the same class graded by stock nbgrader and by `hpml grade`, in turn, each end to end with its feedback.

checks     start, imports, checks, database, feedback: notebooks of answers and checks alone, and the time that both graders wait for
           answers that never end taken off
whole      the labs' whole notebooks, executed
measured   the same with the measured exercises on top, which stock cannot grade

Half of the class is in lab 04-conv-gemm, half in a small lab of TensorFlow code (hpml.grade.bench.frameworks): solved, wrong, empty,
looping, crashing, each with sources of its own. Stock gets asserts on the same sizes (hpml.grade.bench.stock) and the same time-out.
Both are run as an instructor runs them, one command a lab: `nbgrader autograde` and `nbgrader generate_feedback`, `hpml grade`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpml import course, exercise, machine
from hpml.course import CourseError
from hpml.grade.bench import classroom, stock
from hpml.grade.bench.classroom import Student, Variant

Row = dict[str, Any]
Scores = dict[tuple[str, str], float]           # (student, exercise) → score
Call = Callable[[Sequence[str], Path, Mapping[str, str]], int]
PARTS: tuple[Variant, ...] = ("checks", "whole", "measured")
OPTIONS: dict[Variant, list[str]] = {"checks": ["--no-execute"], "whole": [], "measured": []}     # of `hpml grade`
MAKE = "import sys; from hpml.grade.bench import classroom; classroom.main(sys.argv[1:])"     # a process, for a course of its own
TIMES_STOCK, CLEAR_SECONDS = 10.0, 2.0          # goals
T95 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)   # Student's t, two-sided, by degrees of freedom


@dataclass
class Side:
    """One grader in one part: seconds of each round, and what it found in the last one."""

    seconds: list[float] = field(default_factory=list)
    scores: Scores = field(default_factory=dict)
    verdicts: list[dict[str, Any]] = field(default_factory=list)        # ours alone: (student, exercise) with seconds


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(geometric mean, low, high) of positive figures, one a round; the 95 % interval is Student's, of their logarithms. One round has
    no interval: low and high are the figure itself."""
    logs = [math.log(v) for v in values]
    mean = statistics.fmean(logs)
    half = 0.0
    if len(logs) > 1:
        half = T95[min(len(logs) - 1, len(T95) - 1)] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def without_waiting(seconds: float, loops: int, timeout: float, side_by_side: int) -> float:
    """Seconds of a run without what it waited for `loops` answers that never end, `side_by_side` of them at a time."""
    return seconds - loops * timeout / side_by_side


def row(name: str, value: float, low: float, high: float, unit: str, goal: float | None = None, least: bool = True) -> Row:
    """One figure. It is met where its interval lies above the goal (`least`), else where the value is at most the goal."""
    met = None if goal is None else bool(low >= goal if least else value <= goal)
    return {"name": name, "value": value, "low": low, "high": high, "unit": unit, "goal": goal, "met": met}


def ratio_row(name: str, theirs: Sequence[float], ours: Sequence[float], goal: float) -> Row:
    """How many times stock's throughput ours is."""
    return row(name, *interval([a / b for a, b in zip(theirs, ours, strict=True)]), "×", goal)


def comparable(students: Sequence[Student], needs: Mapping[str, Mapping[str, Sequence[str]]], theirs: Scores, ours: Scores
               ) -> list[tuple[str, str]]:
    """Where both graders can know the score: stock's kernel lived, ours is not pending, and the answer does not build on a broken one
    (stock runs it with the student's, the referee with the course's own)."""
    broken = {s.name: (s.broken, needs[s.lab]) for s in students}
    return [key for key in sorted(theirs.keys() & ours.keys())
            if key[1] == broken[key[0]][0] or broken[key[0]][0] not in broken[key[0]][1].get(key[1], ())]


def agreement_row(name: str, both: Sequence[tuple[str, str]], theirs: Scores, ours: Scores) -> tuple[Row, list[str]]:
    """The share of equal scores among those that both know, in %, and a sentence for each that differs."""
    differ = [f"{student}, {key}: stock {theirs[student, key]:g}, hpml {ours[student, key]:g}" for student, key in both
              if theirs[student, key] != ours[student, key]]
    share = 100 * (1 - len(differ) / len(both)) if both else 0.0
    alone = len(ours.keys() - theirs.keys())
    text = f"{name}: equal scores ({len(both)} that both know; {alone} more that hpml alone knows)"
    return row(text, share, share, share, "%", 100), differ


def clear(verdicts: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds of the measured verdicts on answers far above their targets, checks included."""
    return [float(v["seconds"]) for v in verdicts if v["measured"] and v["outcome"] == "pass"]


def _call(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    with open(folder / "log.txt", "ab") as log:
        return subprocess.call(command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


class Bench:
    """The class in a temporary place, and the two graders. `call` and `clock` stand in for processes and time in tests."""

    def __init__(self, place: Path, number: int, timeout: float, call: Call = _call, clock: Callable[[], float] = time.monotonic) -> None:
        self.place, self.number, self.timeout, self.call, self.clock = place, number, timeout, call, clock
        self.students: dict[Variant, list[Student]] = {}

    def environment(self, variant: Variant) -> dict[str, str]:
        """Both graders' alike. A notebook on the stock side must not start a referee, whence the address where there is none."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "HPML_ROOT": str(self.place / variant / "root"), "TF_CPP_MIN_LOG_LEVEL": "3",
                "HPML_REFEREE": "/nowhere", "JUPYTER_CONFIG_DIR": str(self.place), "HPML_CELL_SECONDS": str(max(1, round(self.timeout)))}

    def prepare(self, variant: Variant) -> None:
        """Make the class and both gradebooks; nothing of it is timed."""
        from nbgrader.api import Gradebook

        from hpml.grade import record
        place = self.place / variant
        place.mkdir(parents=True)
        classroom.derive(place / "root", variant, self.timeout)
        both = "both" if variant != "measured" else "ours"
        self._must([sys.executable, "-c", MAKE, str(place), str(self.number), str(self.timeout), both], place, variant)
        self.students[variant] = [Student(**s) for s in json.loads((place / "class.json").read_text(encoding="utf-8"))]
        if both == "both":
            for lab in self.labs(variant):
                self._must([sys.executable, "-m", "nbgrader", "generate_assignment", lab, "--create"], place / "stock", variant)
        with record._own_tools():
            Gradebook(f"sqlite:///{place / 'ours' / 'gradebook.db'}").close()

    def labs(self, variant: Variant) -> list[str]:
        return sorted({s.lab for s in self.students[variant]})

    def loops(self, variant: Variant) -> int:
        return sum(s.kind == "looping" for s in self.students[variant])

    def _must(self, command: Sequence[str], folder: Path, variant: Variant) -> None:
        if self.call(command, folder, self.environment(variant)):
            raise CourseError(f"{' '.join(command[1:4])} failed: {_tail(folder / 'log.txt')}")

    def run(self, variant: Variant, who: str, into: Side) -> None:
        """One grader, once, on a fresh copy of its course folder."""
        place, folder = self.place / variant, self.place / "now"
        shutil.copytree(place / who, folder)
        environment = self.environment(variant)
        began = self.clock()
        for lab in self.labs(variant):
            if who == "stock":                  # it says 1 where a kernel died, which is in the class; the scores tell what it did
                self.call([sys.executable, "-m", "nbgrader", "autograde", lab], folder, environment)
                self._must([sys.executable, "-m", "nbgrader", "generate_feedback", lab], folder, variant)
            else:
                self._must([sys.executable, "-m", "hpml.cli", "grade", lab, "--course", str(folder), *OPTIONS[variant]], folder, variant)
        into.seconds.append(self.clock() - began)
        if who == "stock":
            into.scores = {}
            for lab in self.labs(variant):
                into.scores |= stock.scores(folder, lab, [s.name for s in self.students[variant] if s.lab == lab])
        else:
            into.scores, into.verdicts = read_table(folder, self.students[variant], needed(self.labs(variant))), read_verdicts(folder)
        shutil.rmtree(folder)


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-1500:] if path.is_file() else ""


def read_table(folder: Path, students: Sequence[Student], exercises: Mapping[str, Iterable[str]]) -> Scores:
    """grades.csv → scores; what is pending is not among them. `exercises`: lab → names of its exercises."""
    labs = {s.name: s.lab for s in students}
    found: Scores = {}
    with open(folder / "grades.csv", encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if labs.get(line["student"]) == line["lab"]:
                found |= {(line["student"], name): float(line[name]) for name in exercises[line["lab"]] if line.get(name)}
    return found


def read_verdicts(folder: Path) -> list[dict[str, Any]]:
    """What the journal holds: a verdict of every student and exercise."""
    return [json.loads(path.read_text(encoding="utf-8"))["verdict"] for path in sorted(folder.glob("graded/*/*/[!.]*.json"))]


def needed(labs: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Lab → exercise → all that it builds on, in the course's own labs (the shortened ones declare the same)."""
    from hpml.grade.bench import frameworks
    found: dict[str, dict[str, list[str]]] = {}
    for name in labs:
        declared: Mapping[str, Any] = frameworks.EXERCISES if name == frameworks.NAME else exercise.load(course.load().lab(name))

        def below(key: str, declared: Mapping[str, Any] = declared) -> list[str]:
            return [n for used in getattr(declared.get(key), "uses", ()) for n in (used, *below(used, declared))]
        found[name] = {key: below(key) for key in declared}
    return found


def rows(bench: Bench, parts: Sequence[Variant], rounds: int, cores: int) -> tuple[list[Row], list[str]]:
    """All figures, and the scores that differ. Raises CourseError where a grader fails as a whole."""
    variants: list[Variant] = [p for p in PARTS if p in parts or (p == "whole" and "measured" in parts)]
    sides = {(variant, who): Side() for variant in variants for who in ("stock", "ours") if (variant, who) != ("measured", "stock")}
    for variant in variants:
        tell(f"making the class ({variant})")
        bench.prepare(variant)
    for n in range(rounds):
        for key in sorted(sides, reverse=n % 2 == 0):           # each round the other way round
            tell(f"round {n + 1} of {rounds}: {key[0]}, {'stock nbgrader' if key[1] == 'stock' else 'hpml grade'}")
            bench.run(*key, sides[key])
            tell(f"… {sides[key].seconds[-1]:.1f} s")
    found: list[Row] = []
    problems: list[str] = []
    needs = needed(classroom.LABS)
    words = {"checks": "checks alone", "whole": "whole notebooks executed", "measured": "measured exercises on top"}
    for variant in variants:
        ours, name = sides[variant, "ours"], f"{words[variant]} ({bench.number} submissions, {rounds} rounds)"
        theirs = sides["whole" if variant == "measured" else variant, "stock"]
        spent, stocks = ours.seconds, theirs.seconds
        if variant == "checks":
            loops = bench.loops(variant)
            spent = [without_waiting(s, loops, bench.timeout, cores) for s in spent]
            stocks = [without_waiting(s, loops, bench.timeout, 1) for s in stocks]
        if variant != "measured":
            found.append(row(f"{name}: stock", *interval([s / bench.number for s in stocks]), "s a submission"))
        found.append(row(f"{name}: hpml", *interval([s / bench.number for s in spent]), "s a submission"))
        found.append(ratio_row(f"{name}: hpml's throughput, in stock's" + (" without them" if variant == "measured" else ""), stocks, spent,
                               TIMES_STOCK if variant == "checks" else 1.0))
        if variant == "measured":
            if quick := clear(ours.verdicts):
                found.append(row("a measured exercise, clear case", statistics.median(quick), min(quick), max(quick), "s", CLEAR_SECONDS,
                                 least=False))
        else:
            both = comparable(bench.students[variant], needs, theirs.scores, ours.scores)
            agreed, differ = agreement_row(words[variant], both, theirs.scores, ours.scores)
            found.append(agreed)
            problems += differ
    return found, problems


def tell(what: str) -> None:
    print(f"hpml bench grading: {what}", file=sys.stderr, flush=True)


def show(found: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    table = Table("figure", "value", "95 % interval, or range", "goal", "met")
    for r in found:
        goal = "" if r["goal"] is None else f"{'≤' if r['unit'] in ('s', 'GB') else '≥'} {r['goal']:g}"
        table.add_row(r["name"], f"{r['value']:.3g} {r['unit']}", f"{r['low']:.3g} … {r['high']:.3g}", goal,
                      {True: "yes", False: "NO", None: ""}[r["met"]])
    Console().print(table)


def main(argv: list[str]) -> int:
    """`hpml bench grading`. Returns 0 where every goal is met, 1 where not, 2 if it was called in a wrong way."""
    parser = argparse.ArgumentParser(prog="hpml bench grading", description="A class graded by stock nbgrader and by hpml grade. "
                                     "Leave the machine alone meanwhile; with the defaults it takes about half an hour.",
                                     epilog="Example, three minutes: hpml bench grading --submissions 10 --rounds 1 --part checks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--submissions", type=int, default=40, metavar="N", help="default: 40; at least 10, for both labs")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each grader grades the class; default: 3")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="of a call or cell, for both; default: 10")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    options = parser.parse_args(argv)
    if options.submissions < 10 or options.rounds < 1 or options.timeout < 1:
        parser.error("at least 10 submissions, one round and one second")
    from hpml.grade import guarded
    guarded()
    machine.card()                              # measured now, in none of the runs
    with tempfile.TemporaryDirectory(prefix="hpml-bench-") as place:
        found, problems = rows(Bench(Path(place), options.submissions, options.timeout), options.part or PARTS, options.rounds,
                               len(os.sched_getaffinity(0)))
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    for line in problems:
        print(line, file=sys.stderr)
    return 0 if all(r["met"] is not False for r in found) else 1
