import math

import numpy as np
import pytest

from hpml import measure
from hpml.measure import Interval, close, credit, decided, interval, steady, too_noisy


def test_interval_covers_at_every_look() -> None:
    """The chance that the truth is *ever* outside, over looks after each of 3..40 pairs, stays below alpha."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(1000):
        y = rng.normal(0.3, 0.05, 40)
        looks = (interval(y[:n]) for n in range(3, 41))
        missed += any(not found.low <= math.exp(0.3) <= found.high for found in looks)
    assert missed / 1000 <= 0.05


def test_interval_covers_with_heavy_tails() -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(500):
        y = 0.3 + 0.03 * rng.standard_t(3, 40)
        missed += any(not (f := interval(y[:n])).low <= math.exp(0.3) <= f.high for n in range(3, 41))
    assert missed / 500 <= 0.06


def test_a_fixed_sample_t_interval_would_not_cover() -> None:
    """The reason for the method: looking after every pair breaks the ordinary interval."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        y = rng.normal(0, 1, 40)
        means = [(y[:n].mean(), y[:n].std(ddof=1) / math.sqrt(n)) for n in range(3, 41)]
        missed += any(abs(m) > 1.96 * s for m, s in means)
    assert missed / 300 > 0.15


def test_interval_narrows_with_pairs_and_contains_its_ratio() -> None:
    rng = np.random.default_rng(4)
    y = list(rng.normal(math.log(5), 0.02, 60))
    widths = [interval(y[:n]).log_width for n in (4, 8, 16, 60)]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.05
    found = interval(y)
    assert found.low < found.ratio < found.high and found.pairs == 60


def test_too_few_samples_are_no_interval() -> None:
    assert interval([]).pairs == 0
    assert interval([0.1, 0.1]) == Interval(pytest.approx(math.exp(0.1)), 0.0, math.inf, 2)


def test_equal_samples_keep_the_clocks_own_uncertainty() -> None:
    assert interval([1.0] * 10).log_width > 0


@pytest.mark.parametrize(("low", "share"), [
    (0.0, 0.0), (20, 0.0), (20.1, 0.0), (35.6, 0.25), (63.3, 0.5), (112.5, 0.75), (199.9, 0.75), (200, 1.0), (9e9, 1.0),
    (math.nan, 0.0)])
def test_credit_is_logarithmic_in_quarters(low: float, share: float) -> None:
    assert credit(low, 20, 200) == share


def test_credit_is_monotone() -> None:
    shares = [credit(x, 0.1, 0.35) for x in np.linspace(0.01, 1, 300)]
    assert shares == sorted(shares) and set(shares) == {0, 0.25, 0.5, 0.75, 1}


def test_decisions() -> None:
    assert decided(Interval(300, 210, 420, 5), 20, 200)          # surely full
    assert decided(Interval(10, 5, 19, 5), 20, 200)              # surely none
    assert decided(Interval(100, 99, 101, 50), 20, 200)          # known well enough
    assert not decided(Interval(150, 100, 220, 5), 20, 200)


def test_too_noisy_only_where_it_matters() -> None:
    assert too_noisy(Interval(100, 50, 200, 9), 20, 200)
    assert not too_noisy(Interval(300, 210, 900, 9), 20, 200)    # wide, but full credit is certain
    assert not too_noisy(Interval(75, 64, 90, 9), 20, 200)       # wide, but both ends earn the same
    assert not too_noisy(Interval(112, 108, 116, 9), 20, 200)    # undecided between quarters, but narrow: the lower end counts


def test_alpha_widens() -> None:
    y = [0.1, 0.12, 0.09, 0.11, 0.1]
    assert interval(y, alpha=0.01).log_width > interval(y, alpha=measure.ALPHA).log_width


@pytest.mark.parametrize(("spread", "pairs"), [(0.02, 4), (0.1, 15), (0.2, 60)])
def test_noise_never_fails_an_answer_well_above_the_target(spread: float, pairs: int) -> None:
    """Where the budget ends with an interval that is neither narrow nor hopeless, 1.1 times the target is full credit or too noisy."""
    rng = np.random.default_rng(6)
    found = [interval(rng.normal(math.log(2.2), spread, pairs)) for _ in range(300)]
    failed = sum(credit(f.low, 1, 2) < 1 and not too_noisy(f, 1, 2) for f in found)
    assert failed <= 3


def test_close_is_within_ten_per_cent_of_more_credit() -> None:
    assert close(Interval(1.95, 1.9, 2.0, 12), 1, 2)             # full credit is 3 % away
    assert not close(Interval(2.5, 2.1, 3.0, 12), 1, 2)          # it has full credit
    assert not close(Interval(0.8, 0.7, 0.88, 12), 1, 2)         # a tenth more would still earn nothing
    assert not close(Interval(1.25, 1.24, 1.26, 12), 1, 4)      # a quarter starts at 1.41


def test_an_a_a_control_tells_a_steady_machine_from_one_that_is_not() -> None:
    rng = np.random.default_rng(5)
    assert all(steady(rng.normal(0, 0.07, 10)) for _ in range(50))
    assert not any(steady(rng.normal(0, 0.6, 10)) for _ in range(50))
    assert not steady([0.15] * 5 + [0.16] * 5)                   # the same work, always slower the second time
