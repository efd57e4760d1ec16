"""`hpml bench referee`: is the measured grade fair? Ratios that are known beforehand, measured by the referee under load.

ratio      error of the log-ratio where the truth is known from the work: a worker against itself, and exactly twice the work
verdicts   submissions at 0.8 … 1.25 times a target: how often full credit is given or refused wrongly, simulated and real
time       how long a verdict takes, and what the referee's own doings cost in a block
wall       the same ratios and verdicts for two threads and the clock on the wall, quiet and busy
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hpml import course, source
from hpml.referee import jail
from hpml.referee.jail import WarmParent
from hpml.referee.judge import judge
from hpml.referee.resources import LabReferee
from hpml.referee.rig import Noise, Rig, counted_ratio, neighbours, simulate
from hpml.referee.timing import ENOUGH_PAIRS
from hpml.referee.workers import Worker
from hpml.verdict import Measured

SHARES = (0.8, 0.9, 1.0, 1.1, 1.25)             # of the target
KNOWN = {"A/A": 0.5, "planted 2.0": 1.0}        # shares of the target 2 at which the ratio is 1 and 2
BIAS, SPREAD = 0.02, 0.03                       # goals for the estimated log-ratio
FALSE, NOISY = 1.0, 10.0                        # goals, % of the verdicts
SHARE_OF_BLOCK = 2.0                            # goal, %
CORRECT_SECONDS, MEASURED_SECONDS = 1.0, 6.0
LOUDER = 10.0                                   # the measured noise, made so many times larger: such a machine must end as too noisy

Row = dict[str, Any]
LOADS = {0: "idle", 1: "1 busy process", 2: "2 busy processes", 4: "4 busy processes"}


@dataclass(frozen=True)
class Effort:
    loads: tuple[int, ...] = tuple(LOADS)       # busy processes
    workers: int = 8                            # fresh workers for each known ratio and load …
    pairs: int = 36                             # … and pairs with each
    simulated: int = 400                        # submissions for each share and load
    real: int = 10                              # … and measured ones, so 40 for each share over all loads
    wall_real: int = 40                         # for each share on the quiet machine
    wall_busy: int = 3                          # … and under each load
    repeats: int = 5                            # of verdicts and starts


QUICK = Effort(loads=(0,), workers=2, pairs=6, simulated=20, real=1, wall_real=0, wall_busy=0, repeats=1)


def row(name: str, value: float, low: float, high: float, unit: str, goal: float | None = None) -> Row:
    """One figure with its 95 % interval; met where its size is at most the goal."""
    return {"name": name, "value": value, "low": low, "high": high, "unit": unit, "goal": goal,
            "met": None if goal is None else abs(value) <= goal}


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion, in %: Wilson (1927). Without trials it is everything."""
    if not trials:
        return 0.0, 100.0
    z2, p = 1.96**2, hits / trials
    middle, half = p + z2 / (2 * trials), math.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2)))
    low, high = (100 * (middle + s * half) / (1 + z2 / trials) for s in (-1, 1))
    return max(0.0, low), min(100.0, high)


def spread_rows(name: str, noise: Sequence[Noise], rng: np.random.Generator) -> list[Row]:
    """Errors of the log-ratio: bias and standard deviation of an estimate from as many pairs as a quick verdict has, and the standard
    deviation of one pair. Intervals: whole workers are drawn again (cluster bootstrap)."""
    pairs = [np.array(n.errors) for n in noise]
    each = min(ENOUGH_PAIRS, *map(len, pairs), len(pairs[0]))
    estimates = [e[: len(e) // each * each].reshape(-1, each).mean(1) for e in pairs]
    draws = [rng.integers(len(noise), size=len(noise)) for _ in range(500)]
    spread, found = partial(np.std, ddof=1), []
    for what, of, values, goal in (("bias", np.mean, estimates, BIAS), (f"SD of {each} pairs", spread, estimates, SPREAD),
                                   ("SD of one pair", spread, pairs, None)):
        low, high = np.percentile([of(np.concatenate([values[i] for i in draw])) for draw in draws], (2.5, 97.5))
        found.append(row(f"{name}: {what}", float(of(np.concatenate(values))), float(low), float(high), "", goal))
    return found


def false(share: float, measured: Measured, noisy: bool) -> bool:
    """Full credit clearly below the target, or less clearly above it."""
    return not noisy and (measured.credit >= 1 if share <= 0.9 else measured.credit < 1 if share >= 1.1 else False)


class Tally:
    """Verdicts counted by share of the target."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[float, str]] = Counter()

    def add(self, trials: int, trial: Callable[[float], tuple[Measured, bool]]) -> None:
        """So many verdicts at every share, in turn, so that a change of the machine meets all of them."""
        for _ in range(trials):
            for share in SHARES:
                measured, noisy = trial(share)
                self.counts.update({(share, "all"): 1, (share, "noisy"): noisy, (share, "pairs"): len(measured.samples),
                                    (share, "false"): false(share, measured, noisy),
                                    (share, "full"): not noisy and measured.credit >= 1})

    def percent(self, name: str, what: str, shares: Sequence[float], goal: float | None = None) -> Row:
        """The share of verdicts that are so; of those that are not too noisy, unless it is these that are counted."""
        hits, noisy, total = (sum(self.counts[share, key] for share in shares) for key in (what, "noisy", "all"))
        trials = total if what == "noisy" else total - noisy
        found = row(f"{name} ({trials} verdicts)", 100 * hits / trials if trials else 0.0, *wilson(hits, trials), "%", goal)
        return found if trials else found | {"met": None}

    def rows(self, name: str, noisy: float | None = NOISY) -> list[Row]:
        """False verdicts for each share of the target outside ±10 %, what happens on the target itself, and the too noisy ones."""
        found = [self.percent(f"{name}, {share:g} × target: full credit", "full", [share]) if share == 1 else
                 self.percent(f"{name}, {share:g} × target: false {'pass' if share < 1 else 'fail'}", "false", [share], FALSE)
                 for share in SHARES]
        pairs = sum(self.counts[s, "pairs"] for s in SHARES) / max(1, sum(self.counts[s, "all"] for s in SHARES))
        return [*found,
                self.percent(f"{name}: too noisy", "noisy", SHARES, noisy), row(f"{name}: pairs for a verdict", pairs, pairs, pairs, "")]


def tell(what: str) -> None:
    print(f"hpml bench referee: {what} …", file=sys.stderr, flush=True)


def ratio_rows(backend: str, effort: Effort, seed: int, clock: str, loads: Iterable[int]) -> tuple[list[Row], dict[int, list[Noise]]]:
    """Known ratios under every load; the noise, to be played back."""
    found, noise = [], {}
    for load in loads:
        tell(f"known ratios, {clock} clock, {LOADS[load]}")
        with neighbours(load), Rig(backend, clock, (seed, 1, load)) as rig:
            taken = {name: [rig.record(share, effort.pairs) for _ in range(effort.workers)] for name, share in KNOWN.items()}
        rng = np.random.default_rng([seed, 2, load])
        for name, runs in taken.items():
            found += spread_rows(f"{name}, {clock} clock, {LOADS[load]}", runs, rng)
        noise[load] = [run for runs in taken.values() for run in runs]
    return found, noise


def simulated_rows(noise: dict[int, list[Noise]], effort: Effort, seed: int) -> list[Row]:
    """Verdicts on played-back noise of every load, and on a mixture that is LOUDER times as bad."""
    found = []
    rng = np.random.default_rng([seed, 3])
    for load, runs in noise.items():
        tally = Tally()
        tally.add(effort.simulated, lambda share, runs=runs: simulate(runs, share, rng))        # type: ignore[misc]
        found += tally.rows(f"simulated, {LOADS[load]}")
    loud, every = Tally(), [run for runs in noise.values() for run in runs]
    loud.add(effort.simulated, lambda share: simulate(every, share, rng, LOUDER))
    return found + loud.rows(f"simulated, noise {LOUDER:g} times as large", None)


def real_rows(backend: str, effort: Effort, seed: int) -> list[Row]:
    """Submissions through real workers, the same number under every load."""
    tally = Tally()
    for load in effort.loads:
        tell(f"real submissions, {LOADS[load]}")
        with neighbours(load), Rig(backend, "cpu", (seed, 4, load)) as rig:
            tally.add(effort.real, rig.trial)
    return tally.rows(f"real, {' + '.join(map(str, effort.loads))} busy processes")


def wall_rows(backend: str, effort: Effort, seed: int) -> list[Row]:
    """The clock on the wall: right when it is quiet, and never wrong when it is not."""
    found, _ = ratio_rows(backend, effort, seed, "wall", (0,))
    for load in effort.loads:
        tell(f"real submissions, wall clock, {LOADS[load]}")
        tally = Tally()
        with Rig(backend, "wall", (seed, 5, load)) as rig, neighbours(load):
            tally.add(effort.wall_busy if load else effort.wall_real, rig.trial)
        name = f"wall clock, {LOADS[load]}"
        found += [tally.percent(f"{name}: false", "false", [s for s in SHARES if s != 1], 0.0),
                  tally.percent(f"{name}: too noisy", "noisy", SHARES)] if load else tally.rows(name)
    return found


def median_row(name: str, values: Sequence[float], unit: str, goal: float | None = None) -> Row:
    return row(name, statistics.median(values), min(values), max(values), unit, goal)


def overhead_rows(backend: str, effort: Effort, seed: int) -> list[Row]:
    """What the referee's own doings cost in a block, before and after the cost of an empty block is taken off.

    What is left after it comes from blocks of m and 2m calls, t(m) = a + m c and t(2m) = a + 2m c, so that a = 2 t(m) - t(2m).
    """
    left, empty, blocks = [], [], []
    with Rig(backend, "cpu", (seed, 6)) as rig:
        series, calls = rig.baseline, rig.baseline.calls
        for _ in range(10 * effort.repeats):
            once, twice = (series.checked(series.fresh(n))[0] for n in (calls, 2 * calls))
            empty.append(series.checked([])[0])
            blocks.append(once)
            left.append(2 * once - twice - rig.overhead)
    block = statistics.median(blocks)
    before = [100 * e / block for e in empty]
    rest = [100 * x / block for x in left]
    mean, half = statistics.fmean(rest), 1.96 * statistics.stdev(rest) / math.sqrt(len(rest))
    return [median_row("empty block", [1e6 * e for e in empty], "µs"),
            median_row("referee's overhead a call", [1e6 * e / calls for e in empty], "µs"),
            median_row("block", [1e3 * b for b in blocks], "ms"),
            median_row("overhead, share of a block", before, "%", SHARE_OF_BLOCK),
            row("overhead left after subtraction, share of a block", mean, mean - half, mean + half, "%", SHARE_OF_BLOCK)]


def start_rows(backend: str, effort: Effort) -> list[Row]:
    """Seconds until a worker is ready, started afresh and forked from a warm parent."""
    def start(parent: WarmParent | None) -> float:
        began = time.monotonic()
        with Worker(backend, parent=parent) as worker:
            worker.wait_ready()
            return time.monotonic() - began
    cold = [start(None) for _ in range(effort.repeats)]
    parent = WarmParent(backend, ("numpy",))
    try:
        warm = [start(parent) for _ in range(effort.repeats)]
    finally:
        parent.close()
    return [median_row("start of a worker, cold", cold, "s"), median_row("start of a worker, forked", warm, "s")]


def answer_rows(lab: str, effort: Effort) -> list[Row]:
    """Seconds for a verdict on the course's own answers. The first round, which warms oracle and baselines, does not count."""
    found = []
    entry = course.load().lab(lab)
    answers = source.read(entry).answers
    referee = LabReferee(lab, "desk")
    try:
        for name, exercise in entry.exercises.items():
            if exercise.kind == "code":
                tell(f"verdicts on {entry.lab} {name}")
                taken = [judge(referee, answers, [name])[0] for _ in range(effort.repeats + 1)][1:]
                goal = MEASURED_SECONDS if exercise.shape else CORRECT_SECONDS
                found.append(median_row(f"{entry.lab} {name}: {'measured' if exercise.shape else 'correctness'} verdict",
                                        [v.seconds for v in taken], "s", goal))
    finally:
        referee.close()
    return found


def rows(effort: Effort = Effort(), seed: int = 1, parts: Iterable[str] = ("ratio", "verdicts", "time", "wall"),
         lab: str | None = None) -> list[Row]:
    """All figures. `lab`: whose verdicts are timed; default: the first that is written. Raises CourseError and OracleError."""
    backend = jail.choose(course.load().jail)
    found: list[Row] = []
    if {"ratio", "verdicts"} & set(parts):
        if (counted := None if effort is QUICK else counted_ratio(3960)) is not None:
            found.append(row("planted ratio, by instructions counted", counted, counted, counted, "×"))
        known, noise = ratio_rows(backend, effort, seed, "cpu", effort.loads)
        found += known
        if "verdicts" in parts:
            found += simulated_rows(noise, effort, seed)
            found += real_rows(backend, effort, seed)
    if "time" in parts:
        tell("overhead, starts and verdicts")
        found += overhead_rows(backend, effort, seed) + start_rows(backend, effort)
        found += answer_rows(lab or course.load().ready()[0].lab, effort)
    if "wall" in parts:
        found += wall_rows(backend, effort, seed)
    return found


def show(found: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    table = Table("figure", "value", "95 % interval, or range", "goal", "met")
    for r in found:
        table.add_row(r["name"], f"{r['value']:.3g} {r['unit']}".strip(), f"{r['low']:.3g} … {r['high']:.3g}",
                      "" if r["goal"] is None else f"≤ {r['goal']:g}", {True: "yes", False: "NO", None: ""}[r["met"]])
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    """`hpml bench referee`. Returns 0 where every goal is met, else 1."""
    parser = argparse.ArgumentParser(prog="hpml bench referee",
                                     description="Is the measured grade fair? About 25 minutes; leave the machine alone.",
                                     epilog="Example: hpml bench referee --part time --json")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a minute, few numbers: to see that it works")
    parser.add_argument("--part", action="append", choices=("ratio", "verdicts", "time", "wall"), help="only this; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lab", help="the lab whose verdicts are timed")
    options = parser.parse_args(argv)
    parts = options.part or (["verdicts", "time"] if options.quick else ["verdicts", "time", "wall"])
    found = rows(QUICK if options.quick else Effort(), options.seed, parts, options.lab)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0 if all(r["met"] is not False for r in found) else 1


if __name__ == "__main__":
    sys.exit(main())
