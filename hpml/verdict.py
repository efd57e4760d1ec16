"""The verdict on one exercise: what the referee returns, the notebook shows, and the gradebook records."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Outcome(StrEnum):
    PASS = "pass"
    PARTIAL = "partial"
    WRONG = "wrong"
    NOT_ATTEMPTED = "not attempted"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"
    TAMPERED = "tampered"
    TOO_NOISY = "too noisy"
    NEEDS_MANUAL = "needs manual"
    NOT_MEASURABLE = "not measurable here"
    INFRASTRUCTURE = "infrastructure"

    @property
    def pending(self) -> bool:
        """True where nothing can be held against the student yet: such a verdict is never recorded as a zero."""
        return self in (Outcome.TOO_NOISY, Outcome.NEEDS_MANUAL, Outcome.NOT_MEASURABLE, Outcome.INFRASTRUCTURE)


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Measured(Record):
    """One measured target. `ratio` is baseline time / student time, with an anytime-valid interval `low`..`high`."""

    target: str                                  # speedup | fraction
    versus: str                                  # name of the baseline
    start: float
    full: float
    ratio: float
    low: float
    high: float
    credit: float                                # 0, 0.25, ... 1
    samples: list[tuple[float, float]]           # (student, baseline), seconds a call, in the order measured
    clock: str = "cpu"                           # cpu | wall


class Roofline(Record):
    """Where the answer stands on this machine, with the threads that it was timed on."""

    gflops: float                                # reached, GFLOP/s
    peak_gflops: float                           # GEMM peak
    bandwidth_gbs: float                         # GB/s
    intensity: float                             # FLOP per byte of compulsory traffic
    fraction_of_peak: float


class Predicted(Record):
    value: float
    truth: float
    unit: str = ""


class Verdict(Record):
    lab: str
    exercise: str
    outcome: Outcome
    score: float
    max_score: float
    message: str                                 # one or two sentences for the student
    hint: str | None = None
    notes: list[str] = Field(default_factory=list)
    measured: list[Measured] = Field(default_factory=list)
    roofline: Roofline | None = None
    predicted: Predicted | None = None
    counters: dict[str, float] = Field(default_factory=dict)   # e.g. copied_bytes, peak_bytes
    budgets: dict[str, float] = Field(default_factory=dict)    # what each counter may be at most
    output: str = ""                             # what the student's code printed, shortened
    picture: str | None = None                   # SVG drawn by the trusted side
    jail: str = "none"
    seconds: float = 0.0                         # how long the check took
    evidence: dict[str, Any] = Field(default_factory=dict)     # source hash, seed, machine, versions, lab hash

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASS

    def summary(self) -> dict[str, Any]:
        """One flat row, as `hpml check --json` prints it; ratio, low, high, target are those of the first target."""
        first = self.measured[0] if self.measured else None
        return {
            "exercise": self.exercise, "outcome": str(self.outcome), "score": self.score, "max_score": self.max_score,
            "ratio": first and first.ratio, "low": first and first.low, "high": first and first.high,
            "target": first and first.full, "samples": len(first.samples) if first else 0, "jail": self.jail,
            "measured": [m.model_dump(exclude={"samples"}) for m in self.measured],
            "counters": self.counters, "message": self.message, "hint": self.hint,
        }
