"""Paired samples → ratio, interval, decision. Pure functions: no clock is read here.

The samples are log-ratios y_i = log(baseline_i / student_i) of interleaved blocks. Their mean is estimated with a confidence
sequence, an interval that stays valid although it is looked at after every pair: the Gaussian mixture of t-likelihoods
of Lai (1976) in the form of Wang & Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with
unknown variance" (2024). For H0: mean = m, with n samples, t the usual one-sample statistic and effect size ~ N(0, g),

    e_n(m) = (1 + n g)^(-1/2) * [(1 + t²/(n-1)) / (1 + t²/((n-1)(1 + n g)))]^(n/2)

is a non-negative martingale starting at 1, so P(e_n(m) ever reaches 1/alpha) <= alpha (Ville 1939). The interval is
{m : e_n(m) < 1/alpha}, in closed form below; tests/test_measure.py checks its coverage by simulation.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
EFFECT_VARIANCE = 10.0      # g: tuned for decisions after 4 to 40 pairs; coverage does not depend on it
NARROW = 0.05               # stop when the interval is narrower than 5 %
FAIR = 1.1                  # a fail is wrong where the truth is this far above what the credit asks for
STEADY_BIAS, STEADY_SPREAD = 0.1, 0.2       # an A/A control passes below both: mean and standard deviation of its log-ratios
SPREAD_FLOOR = 0.002        # the clock is not trusted below 0.2 %: equal samples do not make an interval of width 0


@dataclass(frozen=True)
class Interval:
    """Ratio of baseline to student time (dimensionless, > 1: the student is faster) with its anytime-valid bounds."""

    ratio: float
    low: float
    high: float
    pairs: int

    @property
    def log_width(self) -> float:
        return math.log(self.high / self.low) if self.low > 0 and math.isfinite(self.high) else math.inf


def interval(log_ratios: Sequence[float], alpha: float = ALPHA, g: float = EFFECT_VARIANCE) -> Interval:
    """Confidence sequence for the mean of `log_ratios` at its present length, returned on the ratio scale.

    Fewer than three samples, or too few for a finite bound, give (0, inf).
    """
    n = len(log_ratios)
    if n == 0:
        return Interval(math.nan, 0.0, math.inf, 0)
    mean = math.fsum(log_ratios) / n
    half = math.inf
    if n >= 3:
        variance = math.fsum((y - mean) ** 2 for y in log_ratios) / (n - 1)
        spread = max(math.sqrt(variance), SPREAD_FLOOR)
        r = ((1 + n * g) ** 0.5 / alpha) ** (2 / n)
        if r < 1 + n * g:
            t = math.sqrt((n - 1) * (r - 1) / (1 - r / (1 + n * g)))
            half = t * spread / math.sqrt(n)
    if not half < 700:                                   # exp overflows
        return Interval(math.exp(mean), 0.0, math.inf, n)
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half), n)


def decided(found: Interval, start: float, full: float) -> bool:
    """True once more samples cannot matter: full credit is certain, none is possible, or the ratio is known well enough."""
    return found.low >= full or found.high <= start or found.log_width <= math.log1p(NARROW)


def credit(low: float, start: float, full: float) -> float:
    """Share of the points, 0 to 1 in quarters: log-linear in the interval's lower end from `start` to `full`."""
    if not low > start:
        return 0.0
    share = math.log(low / start) / math.log(full / start)
    return min(1.0, math.floor(4 * share + 1e-9) / 4)


def close(found: Interval, start: float, full: float) -> bool:
    """True where an answer 10 % faster than measured would earn more. A worker's memory layout alone may cost a few per cent for as
    long as it lives, which more samples of it never show: such an answer is measured once more, in a fresh worker."""
    return credit(found.low, start, full) < credit(found.ratio * FAIR, start, full)


def steady(log_ratios: Sequence[float]) -> bool:
    """Whether an A/A control lets its machine be trusted: the same work takes about the same time, again and again.

    Quiet or beside four busy processes, its standard deviation is 0.03 to 0.09 here (`hpml bench referee --part ratio`).
    """
    return abs(statistics.fmean(log_ratios)) <= STEADY_BIAS and statistics.stdev(log_ratios) <= STEADY_SPREAD


def too_noisy(found: Interval, start: float, full: float) -> bool:
    """True where the budget ended undecided, and an answer that may be as fast as the upper end would lose credit unfairly.

    `high` may be true. An answer that is 10 % slower than that would still earn credit(high / 1.1); where the lower end earns less,
    the verdict could fail an answer that is more than 10 % above what the credit asks for.
    """
    if decided(found, start, full):
        return False
    return credit(found.low, start, full) < credit(found.high / FAIR, start, full)
