"""Simulated ranks: four allreduces right for every length and counted against closed forms; what goes wrong is told."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from allreduces import gather_broadcast, horovod_sum, ring, tree, two_level
from hypothesis import given, settings
from hypothesis import strategies as st

from hpml.distributed.network import Link, switch, torus
from hpml.distributed.network import ring as ring_of
from hpml.distributed.network import two_level as nodes_of
from hpml.distributed.simulation import Deadlock, RankError, simulate

ALPHA, BETA = 5e-6, 1e-9
LINK = Link(ALPHA, BETA)


def vectors(ranks: int, length: int, seed: int = 0) -> list[tuple[np.ndarray]]:
    """Whole numbers, so that every order of summation gives the same."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(-1000, 1000, length).astype(np.float64),) for _ in range(ranks)]


def expect(inputs: list[Any]) -> np.ndarray:
    return np.sum([x for x, *_ in inputs], axis=0)


# ----------------------------------------------------------------------------------------------------- the four allreduces


@given(st.integers(1, 9), st.integers(0, 40), st.sampled_from([gather_broadcast, tree, ring]), st.integers(0, 99))
@settings(max_examples=80)
def test_every_rank_has_the_sum_for_any_ranks_and_length(n: int, length: int, function: Callable[..., Any], seed: int) -> None:
    inputs = vectors(n, length, seed)
    run = simulate(function, inputs, switch(n, LINK))
    assert all(np.array_equal(total, expect(inputs)) for total in run.results) and run.unread == []


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 40))
@settings(max_examples=40)
def test_two_levels_too(nodes: int, per_node: int, length: int) -> None:
    inputs = vectors(nodes * per_node, length)
    run = simulate(two_level, [(x, per_node) for (x,) in inputs], nodes_of(nodes, per_node, LINK, LINK))
    assert all(np.array_equal(total, expect(inputs)) for total in run.results)


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_counters_are_the_closed_forms(n: int) -> None:
    length = 48 * n
    size, inputs, log = 8 * length, vectors(n, length), int(math.log2(n))

    def counted(function: Callable[..., Any]) -> dict[str, float]:
        return simulate(function, inputs, switch(n, LINK)).counters()
    whole, part = ALPHA + BETA * size, ALPHA + BETA * size / n
    assert counted(gather_broadcast) == {
        "messages": 2 * (n - 1), "steps": 2 * (n - 1), "bytes_per_rank": (n - 1) * size, "bytes_per_link": size, "slow_bytes": 0,
        "seconds": pytest.approx(2 * (n - 1) * whole)}
    assert counted(tree) == {
        "messages": 2 * (n - 1), "steps": 2 * log, "bytes_per_rank": log * size, "bytes_per_link": size, "slow_bytes": 0,
        "seconds": pytest.approx(2 * log * whole)}
    assert counted(ring) == {
        "messages": 2 * n * (n - 1), "steps": 2 * (n - 1), "bytes_per_rank": 2 * (n - 1) * size / n,
        "bytes_per_link": 2 * (n - 1) * size / n, "slow_bytes": 0, "seconds": pytest.approx(2 * (n - 1) * part)}


def test_two_levels_spare_the_slow_links_start_up_times() -> None:
    """4 nodes of 4: a flat ring has 30 slow steps, a ring of nodes 6; each slow link carries about as much in both."""
    fast, slow = Link(1e-6, 1e-11), Link(100e-6, 1e-10)
    length = 16 * 48
    size, inputs, net = 8 * length, vectors(16, length), nodes_of(4, 4, fast, slow)
    flat = simulate(ring, inputs, net).counters()
    deep = simulate(two_level, [(x, 4) for (x,) in inputs], net).counters()
    assert flat["slow_bytes"] == 2 * 15 * size / 16 and deep["slow_bytes"] == 2 * 3 * size / 4
    inside, across = fast.alpha + fast.beta * size, slow.alpha + slow.beta * size / 4
    assert deep["seconds"] == pytest.approx(6 * inside + 6 * across)
    assert deep["seconds"] < flat["seconds"] / 4


def test_a_ring_on_a_ring_and_on_a_torus_costs_the_same() -> None:
    """Neighbours are linked in both, but for the jump at the end of a row of the torus."""
    inputs = vectors(8, 64)
    assert simulate(ring, inputs, ring_of(8, LINK)).counters() == simulate(ring, inputs, switch(8, LINK)).counters()
    assert simulate(ring, inputs, torus(1, 8, LINK)).counters() == simulate(ring, inputs, ring_of(8, LINK)).counters()


def test_64_ranks() -> None:
    inputs = vectors(64, 1000)
    run = simulate(ring, inputs, ring_of(64, LINK))
    assert np.array_equal(run.results[63], expect(inputs)) and run.counters()["steps"] == 126
    assert repr(run).startswith("<run on a ring of 64: 8064 messages in 126 steps")


def test_a_run_is_the_same_every_time() -> None:
    inputs = vectors(7, 50)
    first, second = (simulate(tree, inputs, switch(7, LINK)) for _ in range(2))
    assert first.messages == second.messages and first.network.clock == second.network.clock
    assert [m.sent for m in first.messages] == sorted(m.sent for m in first.messages)
    assert all(m.arrived is not None and m.sent < m.left <= m.arrived for m in first.messages)


@pytest.mark.slow
@pytest.mark.parametrize("function", [ring, tree])
def test_on_paper_as_by_horovod(function: Callable[..., Any]) -> None:
    from hpml.distributed import run_ranks
    inputs = [(x.astype(np.float32),) for (x,) in vectors(2, 1001)]
    paper = simulate(function, inputs, switch(2, LINK)).results
    theirs = run_ranks(horovod_sum, 2, (dict(enumerate(x for (x,) in inputs)),))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(paper, theirs, strict=True))


# -------------------------------------------------------------------------------------------------------- the calls


def run2(function: Callable[..., Any], ranks: int = 2) -> Any:
    return simulate(function, [()] * ranks, switch(ranks, LINK))


def test_a_message_is_copied_when_it_is_sent() -> None:
    def main(comm: Any) -> list[float]:
        x = np.arange(3.0)
        if comm.rank == 0:
            comm.Send(x, 1)
            request = comm.Isend(x, 1, tag=5)
            x[:] = 9
            request.Wait()
        else:
            comm.Recv(x, 0, tag=5)
            comm.Recv(x, 0)
        return list(x)
    assert run2(main).results == [[9, 9, 9], [0, 1, 2]]


def test_requests_are_filled_in_the_order_in_which_they_were_posted() -> None:
    def main(comm: Any) -> list[float]:
        a, b = np.zeros(1), np.zeros(1)
        if comm.rank == 0:
            for value in (1.0, 2.0):
                comm.Send(np.array([value]), 1)
        else:
            first, second = comm.Irecv(a, 0), comm.Irecv(b, 0)
            assert second.Wait() and first.Wait() and second.Wait()
        return [a[0], b[0]]
    assert run2(main).results[1] == [1, 2]


def test_a_shorter_message_leaves_the_rest_and_memory_order_counts() -> None:
    def main(comm: Any) -> Any:
        if comm.rank == 0:
            comm.Send(np.arange(6.0).reshape(2, 3).T, 1)          # contiguous, in Fortran's order
            comm.Send(np.float32([[7, 8], [9, 10]]), 1)
        else:
            a, b = np.full(8, -1.0), np.zeros(4, np.float32)
            comm.Recv(a, 0)
            comm.Recv(b, 0)
            return [*a, *b]
        return None
    assert run2(main).results[1] == [0, 1, 2, 3, 4, 5, -1, -1, 7, 8, 9, 10]


def test_ranks_share_no_memory() -> None:
    shared = np.zeros(3)

    def main(comm: Any, x: np.ndarray) -> float:
        x += 1
        return float(x.sum())
    assert simulate(main, [(shared,)] * 3, switch(3, LINK)).results == [3, 3, 3] and not shared.any()


def test_barrier_and_names() -> None:
    def main(comm: Any) -> tuple[int, int]:
        if comm.Get_rank() == 0:
            comm.Send(np.zeros(1000), 1)
        comm.Barrier()
        if comm.rank == 1:
            comm.Recv(np.zeros(1000), 0)
        comm.Barrier()
        return comm.rank, comm.Get_size()
    run = run2(main, 3)
    assert run.results == [(0, 3), (1, 3), (2, 3)]
    assert run.network.clock == pytest.approx([ALPHA + BETA * 8000] * 3)


def test_unread_messages_are_kept() -> None:
    def main(comm: Any) -> None:
        comm.Send(np.zeros(2), (comm.rank + 1) % 2, tag=4)
    assert [(m.source, m.dest, m.tag, m.nbytes, m.arrived) for m in run2(main).unread] == [(0, 1, 4, 16, None), (1, 0, 4, 16, None)]


# ------------------------------------------------------------------------------------------------------ what goes wrong

SENDS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "a slice with gaps": (lambda c: c.Send(np.zeros(8)[::2], 1), BufferError, "not contiguous"),
    "a list": (lambda c: c.Send([1, 2], 1), TypeError, "NumPy arrays"),
    "objects": (lambda c: c.Send(np.array([None]), 1), TypeError, "Python objects"),
    "a rank that is not there": (lambda c: c.Send(np.zeros(1), 2), ValueError, "the ranks are 0 to 1"),
    "a rank below 0": (lambda c: c.Recv(np.zeros(1), -1), ValueError, "modulo"),
    "a rank of floats": (lambda c: c.Send(np.zeros(1), 1.0), TypeError, "number of a rank"),
    "a tag below 0": (lambda c: c.Send(np.zeros(1), 1, tag=-1), ValueError, "tag"),
    "a read-only buffer": (lambda c: c.Recv(np.broadcast_to(np.zeros(1), (1,)), 1), BufferError, "read-only"),
    "half a Sendrecv": (lambda c: c.Sendrecv(np.zeros(1), 1), TypeError, "recvbuf"),
    "the exercise itself": (lambda c: c.Allreduce(np.zeros(1), np.zeros(1)), AttributeError, "that is the exercise"),
    "mpi4py's other half": (lambda c: c.send(1, 1), AttributeError, "capital"),
    "a slip": (lambda c: c.Sent(1), AttributeError, "Sendrecv"),
}


@pytest.mark.parametrize("name", SENDS)
def test_a_wrong_call_says_what_would_be_right(name: str) -> None:
    call, kind, told = SENDS[name]
    with pytest.raises(RankError, match=r"^rank 0 of 2: ") as caught:
        run2(lambda comm: call(comm) if comm.rank == 0 else None)
    assert isinstance(caught.value.__cause__, kind) and told in str(caught.value)


@pytest.mark.parametrize(("sent", "room", "kind", "told"), [
    (np.zeros(5), np.zeros(4), RuntimeError, "MPI_ERR_TRUNCATE: message truncated: rank 0 sent 5 numbers (40 bytes)"),
    (np.zeros(4), np.zeros(8, np.float32), TypeError, "rank 0 sent float64, but the buffer to receive into is float32"),
])
def test_a_message_that_does_not_fit(sent: np.ndarray, room: np.ndarray, kind: type[Exception], told: str) -> None:
    with pytest.raises(RankError) as caught:
        run2(lambda comm: comm.Send(sent, 1) if comm.rank == 0 else comm.Recv(room, 0))
    assert caught.value.rank == 1 and isinstance(caught.value.__cause__, kind) and told in str(caught.value)


def test_a_rank_that_fails_ends_all_and_leaves_no_thread() -> None:
    cleaned: list[int] = []

    def main(comm: Any) -> None:
        try:
            if comm.rank == 2:
                raise KeyError("oops")
            comm.Recv(np.zeros(1), 2)
        finally:
            cleaned.append(comm.rank)
    before = threading.active_count()
    with pytest.raises(RankError, match="rank 2 of 4: KeyError: 'oops'"):
        run2(main, 4)
    assert threading.active_count() == before and set(cleaned) >= {0, 1, 2}


def test_sys_exit_in_a_rank_is_an_error_too() -> None:
    with pytest.raises(RankError, match="rank 0 of 2: SystemExit"):
        run2(lambda comm: sys.exit(3))


@pytest.mark.parametrize(("main", "told"), [
    (lambda comm: comm.Recv(np.zeros(1), 1 - comm.rank), "ranks 0 and 1 both wait to receive"),
    (lambda comm: comm.rank or comm.Recv(np.zeros(1), 1), "rank 0 waits to receive from rank 1, which has ended"),
    (lambda comm: comm.rank or comm.Barrier(), "rank 0 waits at a barrier that rank 1 ended without reaching"),
    (lambda comm: comm.Send(np.zeros(1), 1, tag=1) if comm.rank == 0 else comm.Recv(np.zeros(1), 0), "(a message with tag 1 is there)"),
])
def test_a_deadlock_is_recognised_at_once(main: Callable[..., Any], told: str) -> None:
    before = threading.active_count()
    with pytest.raises(Deadlock) as caught:
        run2(main)
    assert told in str(caught.value) and caught.value._render_traceback_() == [str(caught.value)]
    assert threading.active_count() == before


def test_inputs_must_fit_the_network() -> None:
    with pytest.raises(ValueError, match="3 ranks, but there are inputs for 2"):
        simulate(ring, vectors(2, 3), switch(3, LINK))
    with pytest.raises(ValueError, match="tuple"):
        simulate(ring, [np.zeros(3), np.zeros(3)], switch(2, LINK))  # type: ignore[list-item]


def test_an_interrupt_stops_a_rank_that_computes_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a reader presses stop: the rank's thread ends too, instead of keeping a core busy."""
    from hpml.distributed import simulation
    started = threading.Event()

    def forever(comm: Any) -> None:
        started.set()
        while True:
            pass

    def interrupted(self: Any, rank: Any) -> None:
        self.running = rank
        rank.turn.release()
        started.wait()
        raise KeyboardInterrupt
    monkeypatch.setattr(simulation._World, "_let_run", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run2(forever)
    assert threading.active_count() == before
