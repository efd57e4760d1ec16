"""`hpml bench scaling`: how much of two cores' ceiling is left once two workers have to agree on every gradient?

One network, one batch for each worker, one core and one thread for each worker. Persistent processes do blocks of training steps in turn,
in a new random order every round, all others frozen meanwhile; ratios are taken within a round, so that a slow minute meets both sides.

ceiling      two independent copies at once, without any communication, until both are done; each framework has its own
fraction     images a second of two workers that average their gradients, over that ceiling
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpml.course import ROOT, CourseError
from hpml.distributed.scaling import groups
from hpml.distributed.scaling.groups import Config, Group
from hpml.distributed.scaling.serving import BATCH
from hpml.measure import Interval, interval

Row = dict[str, Any]
RANKS = 2
GOAL = 0.97                                     # of the ceiling, for our adapter
ADAPTER = "our adapter"
PEERS = ROOT / ".venv-peers"
PINS = ROOT / "deploy" / "peers" / "requirements.lock"
GET_PEERS = "./course bench scaling --peers"


@dataclass(frozen=True)
class Family:
    """A framework: what it does alone, which is also its ceiling, and its ways of training together."""

    name: str
    alone: Config
    together: dict[str, Config]

    @property
    def ceiling(self) -> Config:
        return self.alone.on(RANKS)

    @property
    def configs(self) -> list[Config]:
        return [self.alone, self.ceiling, *self.together.values()]


OURS = Family("Keras 3", Config("keras", "alone"), {ADAPTER: Config("horovod", "fused", RANKS),
                                                    "one allreduce per tensor": Config("horovod", "each", RANKS)})
LAST = "channels last"
OTHERS = {
    "pytorch": [Family("PyTorch", Config("torch", "alone"), {"PyTorch DDP": Config("ddp", "spread", RANKS)}),
                Family(f"PyTorch, {LAST}", Config("torch", f"alone, {LAST}"),
                       {f"PyTorch DDP, {LAST}": Config("ddp", f"spread, {LAST}", RANKS)})],
    "tensorflow": [Family("TensorFlow, legacy Keras", Config("legacy", "alone"),
                          {"MultiWorkerMirroredStrategy": Config("mirrored", "spread", RANKS)})],
}


@dataclass(frozen=True)
class Effort:
    block: float = 0.5              # seconds of one block, about
    least: int = 8                  # rounds
    most: int = 60
    seconds: float = 180.0          # for all rounds; a round that has begun is ended


QUICK = Effort(block=0.05, least=3, most=3)


@dataclass
class Samples:
    """Images a second, by configuration, one for each round."""

    rates: dict[Config, list[float]] = field(default_factory=dict)

    def rate(self, config: Config) -> Interval:
        return interval([math.log(r) for r in self.rates[config]])

    def fractions(self, config: Config, of: Config) -> list[float]:
        """Log of the ratio, for each round."""
        return [math.log(a / b) for a, b in zip(self.rates[config], self.rates[of], strict=True)]


def row(name: str, found: Interval, unit: str, goal: float | None = None) -> Row:
    """One figure with its anytime-valid 95 % interval. A goal is met where the whole interval is at it or above, missed where all of
    it is below, and open (None) in between."""
    met = None if goal is None else True if found.low >= goal else False if found.high < goal else None
    return {"name": name, "value": found.ratio, "low": found.low, "high": found.high if math.isfinite(found.high) else None,
            "unit": unit, "goal": goal, "met": met}


def note(name: str, why: str) -> Row:
    """A figure that could not be had."""
    return {"name": f"{name}: {why}", "value": None, "low": None, "high": None, "unit": "", "goal": None, "met": None}


def goal_rows(families: Sequence[Family], samples: Samples) -> list[Row]:
    """What the adapter is held to: its share of its ceiling, and that share over each peer's share of the peer's own ceiling."""
    ours = samples.fractions(OURS.together[ADAPTER], OURS.ceiling)
    found = [row(f"{ADAPTER} / ceiling", interval(ours), "×", GOAL)]
    for family in families:
        for name, config in family.together.items() if family.name != OURS.name else ():
            theirs = samples.fractions(config, family.ceiling)
            found.append(row(f"{ADAPTER} / {name}, each over its ceiling",
                             interval([a - b for a, b in zip(ours, theirs, strict=True)]), "×", 1.0))
    return found


def all_rows(families: Sequence[Family], samples: Samples) -> list[Row]:
    """Goals, then every ratio, then images a second."""
    found = goal_rows(families, samples)
    for family in families:
        found.append(row(f"{family.name}: ceiling / one worker", interval(samples.fractions(family.ceiling, family.alone)), "×"))
        found += [row(f"{name} / ceiling", interval(samples.fractions(config, family.ceiling)), "×")
                  for name, config in family.together.items() if name != ADAPTER]
    for family in families:
        names = {f"{family.name}: one worker": family.alone, f"{family.name}: {RANKS} copies, the ceiling": family.ceiling}
        found += [row(name, samples.rate(config), "images/s") for name, config in (names | family.together).items()]
    return found


def measure(families: Sequence[Family], rate: Callable[[Config], float], effort: Effort, order: random.Random,
            clock: Callable[[], float] = time.monotonic) -> Samples:
    """Rounds of one block for every configuration, in random order, until every goal is decided or the effort is spent.

    `rate`: one block of a configuration, in images a second.
    """
    configs = [config for family in families for config in family.configs]
    samples, end = Samples({config: [] for config in configs}), clock() + effort.seconds
    for number in range(1, effort.most + 1):
        for config in order.sample(configs, len(configs)):
            samples.rates[config].append(rate(config))
        if number >= effort.least and (clock() >= end or all(r["met"] is not None for r in goal_rows(families, samples))):
            break
    return samples


def tell(what: str) -> None:
    print(f"hpml bench scaling: {what} …", file=sys.stderr, flush=True)


class Stage:
    """The groups of all families, started one after another and frozen."""

    def __init__(self, stack: contextlib.ExitStack):
        self.stack, self.groups, self.steps = stack, dict[str, Group](), 2

    def add(self, family: Family) -> None:
        """Start what the family needs and let every configuration trace. Raises CourseError."""
        for config in family.configs:
            if config.group not in self.groups:
                tell(f"starting {config.group}")
                # entered in the stack at once: what fails to start has to be ended too
                self.groups[config.group] = self.stack.enter_context(groups.group(config.group, RANKS))
                self.groups[config.group].ready()
            self.rate(config)

    def rate(self, config: Config) -> float:
        return BATCH * self.steps * config.workers / self.groups[config.group].block(config.mode, self.steps, config.workers)


def rows(effort: Effort = Effort(), parts: Iterable[str] = tuple(OTHERS), seed: int = 1, cycles: Iterable[float] = ()) -> list[Row]:
    """All figures. `parts`: which peers; `cycles`: the adapter also with these cycle times of Horovod, milliseconds.

    Raises CourseError where our own side cannot be measured; a peer that fails is a note.
    """
    groups.enough_cores(RANKS)
    tuned = {f"{ADAPTER}, HOROVOD_CYCLE_TIME={ms:g}": Config(f"horovod@{ms:g}", "fused", RANKS) for ms in cycles}
    notes, families = [], [replace(OURS, together=OURS.together | tuned)]
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        stage.add(families[0])
        for family in (f for part in parts for f in OTHERS[part]):
            try:
                if not groups.PEERS.exists():
                    raise CourseError(f"not installed; to get it: {GET_PEERS}")
                stage.add(family)
                families.append(family)
            except CourseError as e:
                notes += [note(name, str(e)) for name in family.together]
        stage.steps = max(3, round(effort.block * stage.rate(OURS.ceiling) / BATCH / RANKS))
        tell(f"up to {effort.most} rounds of {sum(len(f.configs) for f in families)} blocks, {stage.steps} steps each")
        samples = measure(families, stage.rate, effort, random.Random(seed))
    return [*all_rows(families, samples), *notes]


def install_peers() -> None:
    """Make .venv-peers from its pins. Raises CourseError."""
    uv = next(filter(None, map(shutil.which, ("uv", os.path.expanduser("~/.local/bin/uv"), str(ROOT / ".uv/bin/uv")))), None)
    if uv is None or not PINS.exists():
        raise CourseError("uv is not here: ./course setup brings it" if PINS.exists() else f"{PINS} is not here: it is in the full course")
    # uv knows where PyTorch keeps its builds without CUDA; a folder of wheels that this machine has goes first
    local = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")
    wheels = ["--find-links", local] if local else ["--torch-backend", "cpu"]
    for command in ([uv, "venv", "--quiet", "--clear", "--python", "3.11", str(PEERS)],
                    [uv, "pip", "sync", "--python", str(PEERS / "bin" / "python"), "--compile-bytecode", "--require-hashes",
                     *wheels, PINS.name]):
        if subprocess.run(command, cwd=PINS.parent).returncode:
            raise CourseError("the peers could not be installed; the lines above say why")


def show(found: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    table = Table("figure", "value", "95 % interval", "goal", "met")
    for r in found:
        high = "?" if r["high"] is None else f"{r['high']:.4g}"
        table.add_row(r["name"], *(("", "") if r["value"] is None else (f"{r['value']:.4g} {r['unit']}", f"{r['low']:.4g} … {high}")),
                      "" if r["goal"] is None else f"≥ {r['goal']:g}",
                      "" if r["goal"] is None else {True: "yes", False: "NO", None: "open"}[r["met"]])
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    """`hpml bench scaling`. Returns 1 where a goal is missed, else 0."""
    parser = argparse.ArgumentParser(prog="hpml bench scaling", description="What communication leaves of two workers' speed. "
                                     "About 4 minutes; leave the machine alone.", epilog="Example: hpml bench scaling --json")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a minute, few numbers: to see that it works")
    parser.add_argument("--part", action="append", choices=("horovod", *OTHERS), help="only this beside our own; may be repeated")
    parser.add_argument("--cycle-time", action="append", type=float, metavar="MS", default=[],
                        help="the adapter also with this cycle time of Horovod's background thread (its own default is 1); may be repeated")
    parser.add_argument("--peers", action="store_true", help="install PyTorch and legacy Keras into .venv-peers first (2 GB)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if options.peers:
        install_peers()
    parts = [p for p in options.part if p in OTHERS] if options.part else tuple(OTHERS)
    found = rows(QUICK if options.quick else Effort(), parts, options.seed, options.cycle_time)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 1 if any(r["met"] is False for r in found) else 0


if __name__ == "__main__":
    sys.exit(main())
