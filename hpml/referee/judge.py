"""The referee proper: exercise cells of one notebook → verdicts. Holds clock, seed, inputs and score; imports no framework."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import math
import platform
import secrets
import time
from collections.abc import Iterable

import numpy as np

from hpml import course, measure
from hpml.exercise import Case, Exercise
from hpml.referee import arrays, predictions, ranks, timing
from hpml.referee import cells as text
from hpml.referee.answers import Answers, Finding
from hpml.referee.compare import Tampered
from hpml.referee.jail import Died
from hpml.referee.oracle import OracleError
from hpml.referee.others import Others
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.resources import LabReferee
from hpml.referee.timing import Failed, Rejected, Series
from hpml.referee.workers import Stubborn
from hpml.verdict import Outcome, Roofline, Verdict

PROGRAM_FILES = 24 << 20        # bytes of libraries that an answer may bring in without their counting as its memory

def judge(referee: LabReferee, answers: dict[str, str], exercises: Iterable[str] | None = None, seed: int | None = None) -> list[Verdict]:
    """Verdicts on the named exercises (default: all that are not graded by hand) of one set of answers."""
    lab = referee.lab
    wanted = [n for n, e in lab.exercises.items() if e.kind != "manual"] if exercises is None else list(exercises)
    for name in wanted:
        if name not in referee.declared:
            raise course.CourseError(f"{lab.lab} has no exercise {name!r} that the referee can check"
                                     + course.nearest(str(name), list(referee.declared)))
    submission = Submission(referee, answers, secrets.randbits(63) if seed is None else seed)
    return [submission.verdict(name) for name in wanted]


def reference(referee: LabReferee, name: str) -> Verdict:
    """The verdict on the course's own answer, measured once."""
    if name not in referee.references:
        referee.references[name] = Submission(referee, referee.source.answers, secrets.randbits(63)).verdict(name)
    return referee.references[name]


class Submission(Answers):
    """Answers with their verdicts."""

    def __init__(self, referee: LabReferee, answers: dict[str, str], seed: int) -> None:
        super().__init__(referee, answers, seed)
        self.verdicts: dict[str, Verdict] = {}

    def verdict(self, name: str) -> Verdict:
        if name not in self.verdicts:
            began = time.monotonic()
            try:
                verdict = predictions.verdict(self, name) if self.referee.lab.exercises[name].kind == "predict" else self._judged(name)
            except OracleError as e:
                verdict = self.plain(name, Finding(Outcome.INFRASTRUCTURE, f"The referee could not check `{name}`: {e} "
                                                                            "This is not your fault, and nothing is lost."))
            verdict.seconds = round(time.monotonic() - began, 3)
            self.verdicts[name] = verdict
            if verdict.measured and (verdict.passed or verdict.outcome is Outcome.TOO_NOISY):
                self.referee.measured[self.fingerprint(name)] = verdict
        return self.verdicts[name]

    def fingerprint(self, name: str) -> tuple[str, ...]:
        """The exercise and every answer that it runs."""
        return (name, *(self.answers.get(key, "") for key in (*self.order(name), name)))

    def _find(self, name: str) -> Finding:
        declared = self.referee.declared[name]
        return ranks.find(self, name, declared) if isinstance(declared, Exercise) and declared.world else super()._find(name)

    def reference(self, name: str) -> Verdict:
        return reference(self.referee, name)

    def plain(self, name: str, found: Finding, score: float = 0.0) -> Verdict:
        """A verdict on what was found, before anything is measured."""
        answer = self.answers.get(name, "")
        referee = self.referee
        chain = {key: self.answers[key] for key in (*self.order(name), name) if key in self.answers}
        return Verdict(lab=referee.lab.lab, exercise=name, outcome=found.outcome, score=score,
                       max_score=referee.lab.exercises[name].points, message=found.message, hint=found.hint,
                       notes=list(found.notes), picture=found.picture, output=found.output, jail=referee.backend,
                       counters=dict(found.counters), budgets=dict(found.budgets),
                       evidence={"source_sha256": hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest(),
                                 "lab_sha256": referee.lab_hash,
                                 "cells": chain, "seed": str(self.seed), "purpose": referee.purpose,
                                 "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                                 "machine": f"{referee.card.cpu}, {referee.card.cores} cores", "python": platform.python_version(),
                                 "versions": _versions()})

    def _judged(self, name: str) -> Verdict:
        found = self.finding(name)
        entry = self.referee.lab.exercises[name]
        if found.outcome is not Outcome.PASS:
            return self.plain(name, found)
        verdict = self.plain(name, found, entry.correct_points)
        verdict.message = f"`{name}` is right."
        declared = self.referee.declared[name]
        assert isinstance(declared, Exercise)
        if declared.view:
            verdict.counters["copied_bytes"] = verdict.budgets["copied_bytes"] = 0
        if entry.shape and (entry.targets or entry.peak_mb):
            first = verdict.model_copy(deep=True)
            later = self._measured(name, declared, verdict, 2)
            if later is None and (doubt := self._doubt(verdict)):
                again = first
                later = self._measured(name, declared, again, 3)
                verdict = self._kept(doubt, verdict, again)
            if later is not None:                       # right on the cases, but not in a measured call
                return verdict.model_copy(update={"outcome": later.outcome, "score": 0.0, "message": later.message, "hint": later.hint,
                                                  "output": later.output, "measured": [], "roofline": None})
        if verdict.outcome is Outcome.PASS and verdict.score < verdict.max_score:
            verdict.outcome = Outcome.PARTIAL
        return verdict

    @staticmethod
    def _doubt(verdict: Verdict) -> str | None:
        """Why a verdict is measured a second time, in a fresh worker."""
        if "below_floor" in verdict.evidence:
            return "It was faster than the roofline of this machine allows, so it was measured again, and the slower time counts."
        if verdict.outcome is not Outcome.TOO_NOISY and any(
                measure.close(measure.Interval(m.ratio, m.low, m.high, len(m.samples)), m.start, m.full) for m in verdict.measured):
            return "It was close to more credit, so it was measured twice, and the better time counts."
        return None

    @staticmethod
    def _kept(doubt: str, first: Verdict, second: Verdict) -> Verdict:
        """Which of two measurements of the same answer counts: the better; of an unbelievable and a believable one, the latter."""
        def worth(v: Verdict) -> tuple[bool, bool, float]:
            return "below_floor" not in v.evidence, v.outcome is not Outcome.TOO_NOISY, v.score
        kept, other = (second, first) if worth(second) > worth(first) else (first, second)
        kept.notes.insert(0, doubt)
        kept.evidence["measured_twice"] = [m.model_dump() for m in other.measured]
        return kept

    def _measured(self, name: str, declared: Exercise, verdict: Verdict, stream: int) -> Finding | None:
        """Counters and targets, into the verdict. Returns a finding where the answer fails while being measured.

        `stream` numbers the random inputs of this measurement.
        """
        if declared.world:
            return ranks.measured(self, name, declared, verdict, stream)
        entry, oracle = self.referee.lab.exercises[name], self.referee.oracle
        assert entry.shape
        cells, _ = self.chain(name)
        self.referee.settle()
        others = Others()
        rng = np.random.default_rng([self.seed, stream])
        with self.referee.worker(timing=declared.timing, preload=declared.preload, hidden=declared.forbids) as worker:
            try:
                idle = worker.memory("RssAnon"), worker.memory("RssFile")
                failed = self.load(worker, name, [*cells, (name, text.clean(self.answers[name]))], name, declared.seconds)
                if failed:
                    return failed
                small = Series(worker, declared, name, declared.sizes[0], rng, lambda c: oracle.expect(name, c), declared.view)
                small.checked(small.fresh(1))
                series = Series(worker, declared, name, entry.shape, rng, lambda c: oracle.expect(name, c), declared.view)
                if entry.peak_mb and (over := self._peak(name, series, idle, entry.peak_mb, verdict)):
                    return over
                if entry.targets and declared.timing == "gpu" and self.referee.gpu() is None:
                    verdict.outcome = Outcome.NOT_MEASURABLE
                    verdict.notes.append("There is no GPU here, so its time could not be measured. Nothing is lost: it is pending until "
                                         "it is checked on a machine that has one.")
                elif entry.targets:
                    self._race(name, declared, series, rng, verdict)
                    if verdict.outcome is Outcome.TOO_NOISY:
                        verdict.notes.append(others.advice())
                if foreign := self.foreign(declared, worker):
                    return Finding(Outcome.WRONG, f"`{name}` loads {foreign} while it is measured. This exercise wants your own "
                                                  "computation, not a framework's.")
            except Failed as e:
                return self.exception(name, e.said, worker)
            except Rejected as e:
                return Finding(Outcome.WRONG, f"{e.problem.message} This was in a measured call: the checks before it went well, so "
                                              "does the result depend on earlier calls?", output=worker.printed())
            except (TimedOut, Died, Stubborn, ProtocolError, Tampered, MemoryError) as e:
                if isinstance(e, TimedOut) and declared.timing == "wall" and others.busy():
                    verdict.outcome = Outcome.TOO_NOISY             # it was right, and in time, when nobody looked at the clock
                    verdict.notes.append(others.advice())
                    return None
                return self.guarded(name, worker, declared.seconds, e)
        return None

    def _peak(self, name: str, series: Series, idle: tuple[int, int], budget_mb: float, verdict: Verdict) -> Finding | None:
        """Peak memory of one call: all that the worker holds above `idle` (anonymous, of files), held before any of its cells ran.

        Inputs do not count, nor do up to 24 MB of further program files; outputs do, and so does what the cells set aside.
        """
        inputs = series.fresh(1)
        specs, size = arrays.layout(inputs)
        series.prepare(specs)
        worker = series.worker
        worker.reset_peak()
        _, done = series.run(inputs)
        files = min(worker.memory("RssFile"), idle[1] + PROGRAM_FILES)
        peak = max(0, worker.memory("VmHWM") - files - size - idle[0])
        try:
            values = series.verify(inputs, done)
        finally:
            series.release()
        verdict.counters["peak_bytes"], verdict.budgets["peak_bytes"] = peak, budget_mb * 1e6
        if peak > budget_mb * 1e6:
            case = Case(inputs[0], values[0], values[0], {**series.size, "peak_mb": int(peak / 1e6)})
            message = f"`{name}` is right, but it needed {peak / 1e6:.0f} MB at its peak; the budget is {budget_mb:g} MB."
            return Finding(Outcome.WRONG, message, hint=self.referee.oracle.hint(name, case))
        return None

    def _race(self, name: str, declared: Exercise, series: Series, rng: np.random.Generator, verdict: Verdict) -> None:
        """Every target of the exercise against its baseline."""
        entry = self.referee.lab.exercises[name]
        share = (entry.points - entry.correct_points) / len(entry.targets)
        credits: list[float] = []
        series.warm_up(self.referee.overhead())
        if declared.timing == "cpu":
            control = self.referee.control()
            verdict.evidence["control"] = {"ratio": control.found.ratio, "low": control.found.low, "high": control.found.high,
                                           "others": round(control.load, 2)}
            if not control.steady:
                verdict.outcome = Outcome.TOO_NOISY
                return
        for kind, target in entry.targets.items():
            baseline = self.referee.baseline(name, target.versus, rng)
            target = target.on("gpu" if declared.timing == "gpu" else "cpu")
            measured, noisy = timing.pairs(series, baseline, target, kind, rng)
            if noisy:
                verdict.outcome = Outcome.TOO_NOISY
            verdict.measured.append(measured)
            credits.append(measured.credit)
        verdict.score = entry.correct_points + share * math.fsum(credits)
        if declared.work and entry.shape:
            work = declared.work(entry.shape)
            seconds = float(np.median([s for m in verdict.measured for s, _ in m.samples]))
            threads = 1 if declared.timing == "cpu" else self.referee.card.cores
            card = self.referee.card
            peak = self.referee.gemm_peak() if threads == 1 else card.gemm_gflops(threads)
            bandwidth = card.bandwidth_gbs(threads)
            if declared.timing == "gpu" and card.gpu:
                peak, bandwidth = card.gpu.gemm, card.gpu.copy_gbs
            reached = work.flops / seconds / 1e9
            verdict.roofline = Roofline(gflops=reached, peak_gflops=peak, bandwidth_gbs=bandwidth, intensity=work.intensity,
                                        fraction_of_peak=reached / peak)
            floor = max(work.flops / (peak * 1e9), work.bytes / (bandwidth * 1e9))
            if seconds < 0.5 * floor:
                verdict.notes.append("This is faster than the roofline of this machine allows; a person will look at it.")
                verdict.evidence["below_floor"] = seconds / floor


@functools.lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {p: importlib.metadata.version(p) for p in ("numpy", "hpml")}
