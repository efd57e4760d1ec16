"""Predictions: what a reader says, beside what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpml.exercise import Prediction
from hpml.referee import cells as text
from hpml.referee.answers import Finding
from hpml.referee.compare import Tampered
from hpml.referee.jail import Died
from hpml.referee.oracle import OracleError
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.workers import Stubborn
from hpml.verdict import Outcome, Predicted, Verdict

if TYPE_CHECKING:
    from hpml.referee.judge import Submission

PRELUDE = """
_said = {{}}
def predict(name, value=None, *rest, **more):
    _said[name] = value
def answer():
    return _said.get({name!r})
"""


def _said(answers: Submission, name: str, cleaned: str) -> Finding | Any:
    """What a prediction's cell says when it is run, or why it says nothing."""
    preamble = [("preamble", answers.referee.source.given["preamble"])] if "preamble" in answers.referee.source.given else []
    with answers.referee.worker(quick=True) as worker:
        try:
            failed = answers.load(worker, name, [*preamble, ("predict", PRELUDE.format(name=name)), (name, cleaned)], "answer", 10)
            if failed:
                return failed
            worker.ask({"prepare": {"calls": [[]]}}, 10)
            said = worker.ask({"go": True}, 10).get("done")
        except (TimedOut, Died, Stubborn, ProtocolError, Tampered) as e:
            return answers.guarded(name, worker, 10, e)
    one = said[0] if isinstance(said, list) and said and isinstance(said[0], dict) else {}
    if one.get("type") in ("NoneType", "ellipsis"):
        return Finding(Outcome.NOT_ATTEMPTED, f"Write your prediction of `{name}` down first: a number.")
    return one.get("number")


def verdict(answers: Submission, name: str) -> Verdict:
    """A prediction: run its cell, take the number, compare it with the truth."""
    cleaned = answers.readable(name)
    if isinstance(cleaned, Finding):
        return answers.plain(name, cleaned)
    declared, entry = answers.referee.declared[name], answers.referee.lab.exercises[name]
    assert isinstance(declared, Prediction) and entry.within
    value = text.prediction(cleaned, name)
    if value is None:
        found = _said(answers, name, cleaned)
        if isinstance(found, Finding):
            return answers.plain(name, found)
        value = found
    if not isinstance(value, int | float) or not abs(value) < 1e300:
        return answers.plain(name, Finding(Outcome.WRONG, f"`predict(\"{name}\", …)` takes one number, such as 2.5."))
    measured, notes = {}, []
    for used in declared.uses:
        measured[used] = answers.referee.measured.get(answers.fingerprint(used)) or answers.verdict(used)
        if not (measured[used].passed or measured[used].outcome is Outcome.TOO_NOISY):      # that was right, and is measured
            measured[used] = answers.reference(used)
            notes.append(f"Your `{used}` is not there yet, so this compares with ours.")
    truth = declared.truth(measured)
    if truth is None:
        raise OracleError(f"the truth of {name} could not be measured.")
    error = abs(value / truth - 1) if truth else abs(value)
    credit = 1.0 if error <= entry.within else 0.5 if error <= 2 * entry.within else 0.0
    outcome = {1.0: Outcome.PASS, 0.5: Outcome.PARTIAL}.get(credit, Outcome.WRONG)
    made = answers.plain(name, Finding(outcome), credit * entry.points)
    made.notes += notes
    made.predicted = Predicted(value=value, truth=truth, unit=declared.unit)
    made.message = f"You predicted {value:g}{_unit(declared.unit)}; it is {_figure(truth)}{_unit(declared.unit)}."
    if declared.explain:
        made.hint = declared.explain(value, truth)
    return made


def _figure(value: float) -> str:
    """Three digits that matter, and all of them before the point: 2.01, 412, 101 770."""
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 1000 else f"{value:.3g}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
