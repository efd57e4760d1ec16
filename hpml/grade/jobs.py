"""What is to be judged, in pieces that an engine can spread over cores and nodes; and what becomes of pieces that fail.

Exercises that are timed with a clock make an `alone` job, which takes a whole node. All others of a student are one job, which shares
its node. Only text goes to a worker (sources, names, a number), and only verdicts come back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from hpml import exercise
from hpml.course import CourseError, Lab
from hpml.verdict import Outcome, Verdict

Judge = Callable[[str, dict[str, str], list[str]], list[Verdict]]      # (lab, answers, which) → their verdicts
Outputs = dict[str, list[dict[str, Any]]]           # cell id → what the cell showed, as a notebook keeps it
RETRIES = 3                                         # how often what failed on our side is tried again; too noisy once
GIVE_UP, GIVE_UP_LATER = 3, 20                      # jobs in a row that fail: before anything went well, and after


class NoJail(CourseError):
    """Students' code would run unguarded."""


class Stopped(CourseError):
    """The referee fails again and again."""


class Fault(Exception):
    """A job failed through no fault of the student; the message says why."""


@dataclass(frozen=True)
class Job:
    """What is to be done about one student: judge `exercises` of `answers`, or run the `notebook`."""

    student: str
    answers: dict[str, str]
    exercises: list[str]
    lab: str = ""
    alone: bool = False                 # it takes the whole node
    seed: int | None = None             # None: a new one
    notebook: str | None = None         # run its code cells, judge nothing

    def text(self) -> str:
        """As it goes to a worker: without the student's name."""
        return json.dumps(asdict(self) | {"student": ""})


Result = list[Verdict] | Outputs | Fault


class Engine(Protocol):
    """Runs jobs somewhere, in any order. Close it: it owns processes."""

    split: bool                         # False: all exercises of a student are one job
    measuring: bool                     # a job has this machine for itself now: nothing else should compute here

    @property
    def workers(self) -> int: ...
    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]: ...
    def close(self) -> None: ...


def alone(lab: Lab) -> set[str]:
    """The exercises whose verdict rests on a clock, or on several processes at once: nothing may run beside them."""
    declared = exercise.load(lab)
    found = {n for n, d in declared.items() if lab.exercises[n].targets
             or (isinstance(d, exercise.Exercise) and (d.timing != "cpu" or d.world == "horovod"))}
    return found | {n for n, d in declared.items() if isinstance(d, exercise.Prediction) and found & set(d.uses)}


def split(job: Job, apart: set[str]) -> list[Job]:
    """The job as one that shares a node and one that does not, as far as there is something to do for each."""
    parts = [(False, [n for n in job.exercises if n not in apart]), (True, [n for n in job.exercises if n in apart])]
    return [Job(job.student, job.answers, names, job.lab, flag, job.seed) for flag, names in parts if names]


def seed(key: bytes, lab_hash: str, answers: Mapping[str, str]) -> int:
    """The same for the same answers, so that a second run finds the same; unknown to whoever has no key."""
    text = json.dumps([lab_hash, dict(answers)], sort_keys=True).encode()
    return int.from_bytes(hmac.new(key, text, hashlib.sha256).digest()[:8], "big") >> 1


def verdict_on(lab: Lab, name: str, outcome: Outcome, message: str, hint: str | None = None) -> Verdict:
    """A verdict that needs no referee."""
    return Verdict(lab=lab.lab, exercise=name, outcome=outcome, score=0.0, max_score=lab.exercises[name].points, message=message, hint=hint)


def run(engine: Engine, lab: Lab, jobs: Iterable[Job]) -> Iterator[tuple[Job, list[Verdict] | Outputs]]:
    """Run every job. What failed on our side is tried again after all others, up to three times, what was too noisy once.

    A failed job yields verdicts as well: `infrastructure`, which are pending. A notebook that could not be run yields nothing.
    Raises Stopped where jobs fail one after the other.
    """
    failures, well = 0, False
    for round_ in range(1 + RETRIES):
        again: list[Job] = []
        for job, result in engine.map(jobs):
            if isinstance(result, Fault):
                again.append(job)
                failures += 1
                if not round_ and failures >= (GIVE_UP_LATER if well else GIVE_UP) * engine.workers:
                    raise Stopped(f"The referee failed {failures} times in a row, so grading stopped: {result} What was graded is "
                                  "kept; run the same command again when this is mended.")
                if job.notebook is None:
                    yield job, [verdict_on(lab, n, Outcome.INFRASTRUCTURE, f"The referee could not check `{n}`: {result} This is not "
                                                                           "your fault, and nothing is lost.") for n in job.exercises]
                continue
            failures, well = 0, True
            yield job, result
            if isinstance(result, list):
                retried = [v.exercise for v in result if v.outcome is Outcome.INFRASTRUCTURE
                           or (v.outcome is Outcome.TOO_NOISY and not round_)]
                if retried:
                    again.append(Job(job.student, job.answers, retried, job.lab, job.alone, job.seed))
        jobs = again
        if not again:
            return
