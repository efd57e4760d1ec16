"""The α–β fit on samples whose truth is known, the ring's prediction, the figures of the benchmark, and what is kept of a link."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpml import plots
from hpml.distributed import allreduce
from hpml.distributed import fit as module
from hpml.distributed.allreduce import MB, PUBLISHED, Measured, errors, ring_sizes, rows, step_sizes
from hpml.distributed.fit import Curve, Piece, fit, links, ring_seconds
from hpml.distributed.network import Link, switch
from hpml.distributed.simulation import simulate

SIZES = [768 * 2**k for k in range(17)]
RING = ring_sizes()
TRUTH = Curve((Piece(2e4, 1e-6, 4e-10), Piece(2.2e6, 5e-6, 1e-10), Piece(math.inf, 2e-5, 3e-10)))


# -------------------------------------------------------------------------------------------------------------- the fit


@given(st.floats(1e-7, 1e-3), st.floats(1e-12, 1e-8))
def test_one_line_is_found_again(alpha: float, beta: float) -> None:
    found = fit(SIZES, [alpha + beta * n for n in SIZES])
    assert len(found.pieces) == 1 and found.pieces[0].upto == math.inf
    assert [found(n) for n in SIZES] == pytest.approx([alpha + beta * n for n in SIZES], rel=1e-6)


def test_pieces_are_found_again() -> None:
    found = fit(SIZES, [TRUTH(n) for n in SIZES])
    assert len(found.pieces) == 3
    for piece, true in zip(found.pieces, TRUTH.pieces, strict=True):
        assert (piece.alpha, piece.beta) == pytest.approx((true.alpha, true.beta), rel=1e-3)
    assert [found(n * 1.4) for n in SIZES[3:10]] == pytest.approx([TRUTH(n * 1.4) for n in SIZES[3:10]], rel=1e-3)


@given(st.integers(0, 10**6))
def test_noise_moves_the_curve_little(seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(0.9, 1.1, len(SIZES))
    found = fit(SIZES, [TRUTH(n) * e for n, e in zip(SIZES, noise, strict=True)])
    off = [abs(found(n) / TRUTH(n) - 1) for n in SIZES]
    assert np.median(off) < 0.1


@given(st.lists(st.tuples(st.floats(1, 1e9), st.floats(1e-9, 10)), min_size=3, max_size=14))
def test_any_samples_give_a_curve_that_is_never_negative(samples: list[tuple[float, float]]) -> None:
    """Whatever is measured: α and β of 0 or more, ranges in order, an answer for every size, and no better single line."""
    found = fit(*zip(*samples, strict=True))
    assert all(p.alpha >= 0 and p.beta >= 0 for p in found.pieces)
    ends = [p.upto for p in found.pieces]
    assert ends == sorted(ends) and ends[-1] == math.inf and len(ends) <= 4
    assert all(math.isfinite(found(n)) and found(n) >= 0 for n in (1, 4096, 1e10))


def test_the_order_of_samples_does_not_matter() -> None:
    assert fit(SIZES[::-1], [TRUTH(n) for n in SIZES[::-1]]) == fit(SIZES, [TRUTH(n) for n in SIZES])


@pytest.mark.parametrize(("sizes", "seconds"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([0, 1, 2], [1, 2, 3]), ([1, 2, 3], [1, 0, 3])])
def test_too_few_samples_are_refused(sizes: list[float], seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 3 sizes"):
        fit(sizes, seconds)


# ------------------------------------------------------------------------------------------------------- the prediction


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_the_prediction_is_what_the_network_on_paper_takes(ranks: int) -> None:
    from allreduces import ring
    alpha, beta, length = 3e-6, 2e-9, 8 * 120
    run = simulate(ring, [(np.ones(length),)] * ranks, switch(ranks, Link(alpha, beta)))
    assert ring_seconds(8 * length, ranks, Curve.line(alpha, beta)) == pytest.approx(run.network.seconds)


def test_sums_are_counted_once_for_each_step_of_the_first_half() -> None:
    free, sums = Curve.line(0, 0), Curve.line(0, 1e-9)
    assert ring_seconds(4e6, 4, free, sums) == pytest.approx(3e-3)


def made(ranks: int = 4, slower: float = 1.0) -> Measured:
    """Measurements of a machine that keeps to the model, but for a ring that is so many times slower."""
    sizes, add = step_sizes(ranks), Curve.line(2e-7, 1e-10)
    return Measured(ranks, sizes, tuple(map(TRUTH, sizes)), tuple(map(add, sizes)), RING,
                    tuple(slower * ring_seconds(n, ranks, TRUTH, add) for n in RING))


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_machine_that_keeps_to_the_model_is_predicted(ranks: int) -> None:
    assert np.median(np.abs(errors(made(ranks)))) < 0.1
    assert errors(made(ranks, slower=2)) == pytest.approx([-50] * len(RING), abs=3)
    sizes = step_sizes(ranks)
    assert sizes[0] <= RING[0] / ranks <= RING[-1] / ranks <= sizes[-1]
    assert not set(sizes) & {n // ranks for n in RING}               # never measured where it is predicted


def test_rows_say_whether_the_goal_is_met() -> None:
    found = {r["name"]: r for r in rows([made(2), made(4, slower=3)])}
    first, second = (next(r for name, r in found.items() if name.startswith(f"ring of {n}, 4.1 kB to 67.1 MB")) for n in (2, 4))
    assert first["met"] is True and first["goal"] == 25 and second["met"] is False and second["value"] > 60
    assert first["low"] <= first["value"] <= first["high"]
    assert all(set(r) == {"name", "value", "low", "high", "unit", "goal", "met"} for r in found.values())
    assert next(r for name, r in found.items() if "4 ranks: α" in name)["value"] == pytest.approx(1.0, rel=0.01)      # µs
    json.dumps(list(found.values()))


def test_a_busy_machine_decides_nothing() -> None:
    busy = replace(made(2, slower=3), share=0.5)
    found = rows([busy])
    assert found[0]["met"] is None and found[0]["value"] > 60 and "too noisy" in found[1]["name"] and found[1]["value"] == 50
    assert rows([replace(busy, share=1.0)])[0]["met"] is False


def test_published_figures_lie_between_no_overlap_and_full_overlap() -> None:
    bounds = {p.name: 1e3 * p.ring() for p in PUBLISHED}
    assert bounds["ResNet-101"] == pytest.approx(113, abs=0.5) and bounds["VGG-16"] == pytest.approx(351, abs=0.5)
    for p in PUBLISHED:
        alone, hidden = p.bracket()
        assert 0 < alone < p.efficiency < hidden <= 100


def test_the_picture_shows_both() -> None:
    text = plots.svg(allreduce.picture([made(2), made(4)]))
    assert all(f"{n} ranks, {what}" in text for n in (2, 4) for what in ("measured", "predicted"))


# ----------------------------------------------------------------------------------------------- measured, on processes


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not its figures: the machine may be busy."""
    code = allreduce.main(["--quick", "--ranks", "2", "--json", "--plot", str(tmp_path / "ring.svg")])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if all(r["met"] is not False for r in found) else 1)
    assert found[0]["name"].startswith("ring of 2") and found[0]["value"] > 0
    assert (tmp_path / "ring.svg").read_text().startswith("<svg")


@given(st.integers(1, 6), st.integers(0, 30))
def test_the_timed_ring_is_an_allreduce(ranks: int, length: int) -> None:
    def main(comm: Any, x: np.ndarray) -> np.ndarray:
        allreduce.ring_allreduce(comm, x, np.empty(-(-length // comm.size)))
        return x
    run = simulate(main, [(np.arange(length) + r * 1.0,) for r in range(ranks)], switch(ranks, Link(0, 0)))
    assert all(np.array_equal(x, ranks * np.arange(length) + ranks * (ranks - 1) / 2) for x in run.results)


def test_links_are_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPML_CACHE", str(tmp_path / "cache"))
    asked: list[int] = []

    def measure(ranks: int, **_: Any) -> Measured:
        asked.append(ranks)
        return made(ranks)
    monkeypatch.setattr(allreduce, "measure", measure)
    first = links()
    assert (first.alpha, first.beta) == pytest.approx((TRUTH.pieces[0].alpha, TRUTH.pieces[-1].beta), rel=1e-3)
    assert links() == first and asked == [2]
    assert links(4).ranks == 4 and links(2, fresh=True) == first and asked == [2, 4, 2]
    for spoilt in ("", "{}", "[]", '[{"upto": 1}]'):
        module._kept(2).write_text(spoilt)
        assert links() == first
    assert first.step(100 * MB) > first.step(10 * MB) > first.alpha
