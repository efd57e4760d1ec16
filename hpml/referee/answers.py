"""One student's answers, before anything is measured: can they be read, do they run, are they right?"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpml.exercise import Case, Exercise, on_rank
from hpml.referee import arrays
from hpml.referee import cells as text
from hpml.referee.compare import Tampered
from hpml.referee.jail import FORBIDDEN, Died
from hpml.referee.oracle import OracleError
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.resources import LabReferee
from hpml.referee.timing import Failed, Rejected, Series
from hpml.referee.workers import Stubborn, Worker
from hpml.verdict import Outcome

PUBLIC_SEED = 7
DOUBTS = 2                  # further inputs for a result that is not precise
PICTURES = 64                # that a referee keeps


@dataclass(frozen=True)
class Finding:
    """Whether an answer is right, before anything is measured."""

    outcome: Outcome
    message: str = ""
    hint: str | None = None
    picture: str | None = None
    output: str = ""
    notes: tuple[str, ...] = ()
    counters: Mapping[str, float] = field(default_factory=dict)     # of ranks, with what each may be at most
    budgets: Mapping[str, float] = field(default_factory=dict)


class Answers:
    """Sources by exercise. Findings are remembered, since exercises build on each other."""

    def __init__(self, referee: LabReferee, answers: dict[str, str], seed: int) -> None:
        self.referee, self.answers, self.seed = referee, answers, seed
        self.findings: dict[str, Finding] = {}

    # -- sources ---------------------------------------------------------------------------------------------------

    def order(self, name: str) -> list[str]:
        """Names of what an exercise builds on, directly or not, in the order in which they run."""
        declared = self.referee.declared
        order: list[str] = []

        def visit(key: str) -> None:
            for used in getattr(declared.get(key), "uses", ()):
                visit(used)
            if key not in order and key != name:
                order.append(key)

        visit(name)
        return order

    def chain(self, name: str) -> tuple[list[tuple[str, str]], list[str]]:
        """Cells to run for an exercise, in order, and notes on stand-ins."""
        source, order = self.referee.source, self.order(name)
        cells, notes = [], []
        if "preamble" in source.given and "preamble" not in order:
            order.insert(0, "preamble")
        for key in order:
            if key in source.given:
                cells.append((key, source.given[key]))
            elif self.finding(key).outcome is Outcome.PASS:
                cells.append((key, text.clean(self.answers[key])))
            else:
                cells.append((key, source.answers[key]))
                notes.append(f"Your `{key}` is not right yet, so ours stood in for it here.")
        return cells, notes

    # -- right or wrong --------------------------------------------------------------------------------------------

    def finding(self, name: str) -> Finding:
        if name not in self.findings:
            self.findings[name] = self._find(name)
        return self.findings[name]

    def readable(self, name: str) -> Finding | str:
        """The cleaned source of an answer, or why there is none."""
        if name not in self.answers:
            if self.referee.purpose == "grade":
                return Finding(Outcome.MALFORMED, f"The exercise cell of `{name}` is missing from the notebook.")
            return Finding(Outcome.NOT_ATTEMPTED, f"Run the cell of `{name}` first, then this one.")
        try:
            cleaned = text.clean(self.answers[name])
        except text.Refused as e:
            return Finding(Outcome.MALFORMED, str(e))
        if text.same(cleaned, self.referee.source.stubs[name]):
            return Finding(Outcome.NOT_ATTEMPTED, f"`{name}` is still open.", picture=self.picture(name))
        return cleaned

    def picture(self, name: str, case: Case | None = None) -> str | None:
        """The exercise's drawing; without a result it shows what is expected."""
        declared = self.referee.declared[name]
        if not isinstance(declared, Exercise) or declared.draw is None:
            return None
        if case is None:
            args = declared.sample(np.random.default_rng(PUBLIC_SEED), declared.sizes[0])
            expected = self.referee.oracle.expect(name, [args])[0]
            if declared.world:
                expected = [on_rank(expected, rank) for rank in range(declared.sizes[0]["ranks"])]
            case = Case(args, None, expected, declared.sizes[0])
        pictures = self.referee.pictures
        description, chunks = arrays.pack((case.args, case.got, case.expected))
        key = hashlib.sha256(json.dumps([name, dict(case.size), description]).encode() + b"".join(chunks)).digest()
        if key not in pictures:
            try:
                pictures[key] = self.referee.oracle.draw(name, case)
            except OracleError as e:                    # a verdict without its picture is better than none
                print(f"{self.referee.lab.lab}: the picture of {name} could not be drawn: {e}", file=sys.stderr)
                return None
            for old in list(pictures)[:-PICTURES]:
                del pictures[old]
        return pictures[key]

    def load(self, worker: Worker, name: str, cells: list[tuple[str, str]], function: str, seconds: float) -> Finding | None:
        answer = worker.ask({"load": {"cells": cells, "function": function}}, seconds + 2)
        if "failed" not in answer:
            return None
        said = answer["failed"]
        if not isinstance(said, dict):
            raise Tampered("a malformed failure")
        if said.get("type") == "Missing":
            return Finding(Outcome.MALFORMED, f"The cell no longer defines `{function}`; the check calls a function of that name.")
        return self.exception(name, said, worker)

    def exception(self, name: str, said: dict[str, Any], worker: Worker) -> Finding:
        kind, where = str(said.get("type"))[:60], str(said.get("cell"))[:60]
        message = " ".join(str(said.get("message")).split())[:300]
        output = worker.printed()
        if kind == "NotImplementedError" and where in (name, ""):
            return Finding(Outcome.NOT_ATTEMPTED, f"`{name}` is still open.", picture=self.picture(name), output=output)
        if kind == "MemoryError" or "Unable to allocate" in message:
            return Finding(Outcome.OUT_OF_MEMORY, f"`{name}` asked for more memory than a check allows (3 GB): {message}", output=output)
        at = f" in line {said['line']}, `{str(said.get('text'))[:100]}`" if isinstance(said.get("line"), int) else ""
        if kind == "NameError" and said.get("name"):
            used = str(said["name"])[:60]
            where = ("another exercise that this one does not build on" if used in self.referee.lab.exercises
                     else "defined neither in this cell nor in what it builds on")
            message = f"`{name}` uses `{used}`{at}, which is {where}. A check runs the cell by itself: define what it needs inside."
            return Finding(Outcome.WRONG, message, output=output)
        if kind == "ImportError" and message.endswith(FORBIDDEN):
            library = message.split()[0][:60]
            return Finding(Outcome.WRONG, f"`{name}` loads {library}{at}. This exercise wants your own computation, not a framework's.",
                           picture=self.picture(name), output=output)
        if kind in ("SystemExit", "KeyboardInterrupt"):
            return Finding(Outcome.CRASHED, f"`{name}` ended the program with {kind}{at}.", output=output)
        return Finding(Outcome.WRONG, f"`{name}` raised {kind}{at}: {message}", output=output)

    def guarded(self, name: str, worker: Worker, seconds: float, error: Exception) -> Finding:
        """What a worker that fell silent, died or babbled means for the student."""
        worker.kill()
        output = worker.printed()
        if isinstance(error, TimedOut):
            message = f"`{name}` did not finish within {seconds:g} s. Is there a loop that never ends?"
            return Finding(Outcome.TIMEOUT, message, output=output)
        if isinstance(error, Died):
            if "processor time" in str(error):
                return Finding(Outcome.TIMEOUT, f"`{name}`: {error}.", output=output)
            message = f"`{name}` ended its process: {error}. An answer returns its result and leaves the process alone."
            return Finding(Outcome.CRASHED, message, output=output)
        if isinstance(error, MemoryError):
            raise OracleError(str(error))
        return Finding(Outcome.TAMPERED, f"`{name}` interfered with the referee ({error}). Nothing was graded.", output=output)

    @staticmethod
    def foreign(declared: Exercise, worker: Worker) -> str | None:
        """A forbidden library that the worker has loaded."""
        mapped = worker.libraries()
        return next((lib for lib in declared.forbids if lib not in declared.preload and f"/{lib}/" in mapped), None)

    def _find(self, name: str) -> Finding:
        cleaned = self.readable(name)
        if isinstance(cleaned, Finding):
            return cleaned
        declared = self.referee.declared[name]
        assert isinstance(declared, Exercise)
        cells, notes = self.chain(name)
        with self.referee.worker(timing=declared.timing, preload=declared.preload, hidden=declared.forbids, quick=True) as worker:
            try:
                found = self.load(worker, name, [*cells, (name, cleaned)], name, declared.seconds)
                if found is None:
                    found = self._cases(name, declared, worker)
            except (TimedOut, Died, Stubborn, ProtocolError, Tampered, MemoryError) as e:
                found = self.guarded(name, worker, declared.seconds, e)
        return Finding(found.outcome, found.message, found.hint, found.picture, found.output, (*notes, *found.notes))

    @staticmethod
    def _first_right(series: Series, tries: int) -> tuple[list[tuple[Any, ...]], list[Any]]:
        """A call that is right, and its result: the first of at most `tries`. Raises what the last one raised.

        Where only the last digits are wrong, up to two more inputs decide: terms that cancel may leave nothing but rounding.
        """
        doubts = DOUBTS
        while tries > 0:
            inputs = series.fresh(1)
            try:
                return inputs, series.checked(inputs)[1]
            except Rejected as e:
                if e.problem.imprecise and doubts:
                    doubts -= 1
                    continue
                tries -= 1
                if not tries:
                    raise
        raise ValueError(f"tries is a number from 1, not {tries}")

    def _cases(self, name: str, declared: Exercise, worker: Worker) -> Finding:
        """Public sizes on the public input, then these and the hidden ones on secret input; the first wrong result ends it."""
        oracle, picture = self.referee.oracle, None
        secret = np.random.default_rng([self.seed, 1])
        for i, size in enumerate([*declared.sizes, *declared.sizes, *declared.hidden]):
            public = i < len(declared.sizes)
            rng = np.random.default_rng(PUBLIC_SEED) if public else secret
            series = Series(worker, declared, name, size, rng, lambda calls: oracle.expect(name, calls), declared.view)
            shown = ", ".join(f"{k}={v}" for k, v in size.items())
            try:
                inputs, values = self._first_right(series, declared.tries)
            except Failed as e:
                found = self.exception(name, e.said, worker)
                if found.outcome is not Outcome.WRONG:
                    return found
                return Finding(found.outcome, f"{found.message} (size {shown})", picture=picture or self.picture(name), output=found.output)
            except Rejected as e:
                case = Case(e.call, e.problem.got, e.expected, size)
                hint = oracle.hint(name, case) if e.problem.got is not None else None
                if public:
                    message = f"{e.problem.message} (public input: {shown}, seed {PUBLIC_SEED})"
                else:
                    message = f"{e.problem.message.split(' First difference')[0]} (on input that is not shown: {shown})"
                    if i < 2 * len(declared.sizes):
                        message += " Other input of this size went well before: does the result depend on earlier calls?"
                small = case if public and getattr(e.problem.got, "shape", None) == getattr(e.expected, "shape", None) else None
                return Finding(Outcome.WRONG, message, hint, self.picture(name, small), worker.printed())
            if foreign := self.foreign(declared, worker):
                return Finding(Outcome.WRONG, f"`{name}` loads {foreign}. This exercise wants your own computation, not a framework's.",
                               picture=picture, output=worker.printed())
            if i == 0:
                picture = self.picture(name, Case(inputs[0], values[0], oracle.expect(name, inputs)[0], size))
        return Finding(Outcome.PASS, "", None, picture, worker.printed())
