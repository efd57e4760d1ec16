"""The network on paper: routes, the clock's rules against closed forms, counters, and the switch's sentences."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpml.distributed.network import Link, Network, Switch, Topology, ring, switch, torus, tree, two_level

ALPHA, BETA, S = 5e-6, 1e-9, 1000
LINK = Link(ALPHA, BETA)
T = ALPHA + BETA * S
SLOW = Link(50e-6, 10e-9)

TOPOLOGIES = st.one_of(
    st.builds(lambda n: switch(n, LINK), st.integers(1, 12)), st.builds(lambda n: ring(n, LINK), st.integers(1, 12)),
    st.builds(lambda n: tree(n, LINK), st.integers(1, 12)), st.builds(lambda r, c: torus(r, c, LINK), st.integers(1, 4), st.integers(1, 4)),
    st.builds(lambda n, m: two_level(n, m, LINK, SLOW), st.integers(1, 4), st.integers(1, 4)))


# -------------------------------------------------------------------------------------------------------------- routes


def names(topology: Topology, source: int, dest: int) -> list[str]:
    return [link.name for link in topology.route(source, dest)]


def test_routes() -> None:
    assert names(switch(8, LINK), 1, 6) == ["1→6"]
    assert names(ring(8, LINK), 1, 7) == ["1→0", "0→7"]                      # the shorter way
    assert names(ring(8, LINK), 2, 6) == ["2→3", "3→4", "4→5", "5→6"]        # as long both ways: upwards
    assert names(tree(7, LINK), 3, 6) == ["3→1", "1→0", "0→2", "2→6"]
    assert names(tree(7, LINK), 4, 3) == ["4→1", "1→3"]
    assert names(torus(3, 4, LINK), 0, 7) == ["0→3", "3→7"]                  # row first, round the back
    assert names(two_level(2, 4, LINK, SLOW), 1, 3) == ["1→3"]
    assert names(two_level(2, 4, LINK, SLOW), 1, 6) == ["node 0→", "→node 1"]
    assert [link.kind for link in two_level(2, 2, LINK, SLOW).route(0, 2)] == ["slow", "slow"]


@given(TOPOLOGIES, st.data())
def test_a_route_leads_from_its_source_to_its_destination(topology: Topology, data: st.DataObject) -> None:
    source, dest = (data.draw(st.integers(0, topology.size - 1)) for _ in range(2))
    route = names(topology, source, dest)
    assert (route == []) == (source == dest)
    assert len(set(route)) == len(route)                                     # no link twice
    if route and "node" not in route[0]:
        assert route[0].startswith(f"{source}→") and route[-1].endswith(f"→{dest}")
        assert all(a.split("→")[1] == b.split("→")[0] for a, b in itertools.pairwise(route))
    back = sum(link.alpha for link in topology.route(dest, source))
    assert back == pytest.approx(sum(link.alpha for link in topology.route(source, dest)))


@pytest.mark.parametrize("wrong", [lambda: ring(0, LINK), lambda: two_level(0, 4, LINK, SLOW), lambda: torus(2, 0, LINK),
                                   lambda: Link(-1, 0), lambda: Link(0, math.nan), lambda: ring(4, LINK).route(0, 4),
                                   lambda: Network(ring(4, LINK)).send(-1, 0, 8)])
def test_what_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"at least one|alpha and beta|there is no rank"):
        wrong()  # type: ignore[operator]


# --------------------------------------------------------------------------------------------------------- clock, counters


def passed(network: Network, source: int, dest: int, nbytes: int = S) -> float:
    return network.receive(network.send(source, dest, nbytes))


def test_one_message() -> None:
    network = Network(switch(2, LINK))
    assert passed(network, 0, 1) == pytest.approx(T)
    assert network.clock == pytest.approx([T, T]) and network.seconds == pytest.approx(T)
    assert network.counters() == {"messages": 1, "steps": 1, "bytes_per_rank": S, "bytes_per_link": S, "slow_bytes": 0,
                                  "seconds": pytest.approx(T)}


def test_a_long_way_costs_every_alpha_but_one_beta() -> None:
    network = Network(ring(8, LINK))
    assert passed(network, 0, 3) == pytest.approx(3 * ALPHA + BETA * S)
    assert network.counters()["bytes_per_link"] == S and network.counters()["steps"] == 1


@pytest.mark.parametrize("n", [2, 3, 8])
def test_one_port(n: int) -> None:
    """N - 1 messages to one rank, or from one, take N - 1 times as long; but a rank sends and receives at once."""
    together, out, exchange = (Network(switch(n, LINK)) for _ in range(3))
    sent = [together.send(r, 0, S) for r in range(1, n)]
    assert [together.receive(m) for m in reversed(sent)] == pytest.approx([T * k for k in range(1, n)])
    sent = [out.send(0, r, S) for r in range(1, n)]
    assert [out.receive(m) for m in sent] == pytest.approx([T * k for k in range(1, n)])
    sent = [exchange.send(r, (r + 1) % n, S) for r in range(n)]
    assert [exchange.receive(m) for m in sent] == pytest.approx([T] * n)
    assert (together.counters()["steps"], out.counters()["steps"], exchange.counters()["steps"]) == (n - 1, n - 1, 1)


def test_a_message_waits_in_the_buffer_not_in_the_port() -> None:
    """Rank 1 asks late for a message that came long ago: it is there at once."""
    network = Network(switch(3, LINK))
    early = network.send(0, 1, S)
    for _ in range(5):
        passed(network, 2, 0)
    last = network.send(0, 1, S)
    assert network.receive(early) == pytest.approx(T)
    assert network.receive(last) == pytest.approx(6 * T)


def test_barrier_and_messages_to_oneself_cost_nothing() -> None:
    network = Network(switch(3, LINK))
    passed(network, 0, 1)
    network.barrier()
    assert network.clock == pytest.approx([T] * 3)
    assert passed(network, 2, 2) == pytest.approx(T)
    assert network.counters()["messages"] == 1 and network.counters()["bytes_per_rank"] == S


def test_a_shared_slow_link_holds_everybody_up() -> None:
    """Four ranks of a node send at once over its one slow link: no faster than one after the other, but for the start-up times."""
    network = Network(two_level(2, 4, LINK, SLOW))
    for m in [network.send(r, 4 + r, S) for r in range(4)]:
        assert network.receive(m) == pytest.approx(SLOW.alpha + SLOW.beta * S)
    assert network.counters()["slow_bytes"] == 4 * S
    large = Network(two_level(2, 4, LINK, SLOW))
    for r in range(4):
        large.send(r, 4 + r, 10**6)
    assert large.seconds == pytest.approx(4 * SLOW.beta * 10**6)


@given(TOPOLOGIES, st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 10**6)), max_size=20), st.randoms())
def test_clock_and_counters_do_not_depend_on_who_runs_first(topology: Topology, sends: list[tuple[int, int, int]], random: object) -> None:
    """Every rank first sends its own messages in order, then receives its own in order: any interleaving of the ranks gives the same."""
    size = topology.size
    sends = [(s % size, d % size, n) for s, d, n in sends]

    def run(order: list[int]) -> tuple[list[float], dict[str, float]]:
        network = Network(topology)
        ids = {m: network.send(*sends[m]) for r in order for m in range(len(sends)) if sends[m][0] == r}
        for r in order:
            for m in range(len(sends)):
                if sends[m][1] == r:
                    network.receive(ids[m])
        return network.clock, network.counters()
    order = list(range(size))
    first = run(order)
    random.shuffle(order)  # type: ignore[attr-defined]
    assert run(order)[0] == first[0]
    assert run(order)[1] == pytest.approx(first[1])


def test_a_message_is_received_once() -> None:
    network = Network(switch(2, LINK))
    message = network.send(0, 1, S)
    network.receive(message)
    with pytest.raises(ValueError, match="before"):
        network.receive(message)


# -------------------------------------------------------------------------------------------------------------- the switch


def test_first_in_first_out_for_each_tag() -> None:
    s = Switch(switch(2, LINK))
    for tag, text in ((0, b"a"), (7, b"b"), (0, b"c")):
        s.send(0, 1, tag, text)
    assert [s.take(1, 0, 7), s.take(1, 0, 0)] == [b"b", b"a"]
    assert s.ready(1, 0, 0) and not s.ready(1, 0, 7) and not s.ready(0, 1, 0)
    assert [(m.source, m.dest, m.tag, m.nbytes) for m in s.unread()] == [(0, 1, 0, 1)]
    with pytest.raises(LookupError, match="tag 7"):
        s.take(1, 0, 7)
    with pytest.raises(ValueError, match="no rank 2"):
        s.ready(1, 2, 0)


def test_no_deadlock_while_one_can_go_on() -> None:
    s = Switch(switch(3, LINK))
    assert s.deadlock({}) is None and s.deadlock({0: None, 1: None, 2: None}) is None
    s.send(0, 1, 0, b"x")
    assert s.deadlock({0: (1, 0), 1: (0, 0), 2: (1, 0)}) is None


@pytest.mark.parametrize(("waiting", "told"), [
    ({0: (1, 0), 1: (0, 0), 2: None}, "ranks 0 and 1 both wait to receive"),
    ({0: (1, 0), 1: (2, 0), 2: (0, 0)}, "ranks 0, 1 and 2 all wait to receive"),
    ({1: (0, 0)}, "rank 1 waits to receive from rank 0, which has ended"),
    ({0: None, 1: (0, 0)}, "rank 0, which is at a barrier"),
    ({0: None, 1: None}, "ranks 0 and 1 wait at a barrier that rank 2 ended without reaching"),
    ({0: None}, "rank 0 waits at a barrier that ranks 1 and 2 ended without reaching"),
])
def test_a_deadlock_is_told_in_one_sentence(waiting: dict[int, tuple[int, int] | None], told: str) -> None:
    sentence = Switch(switch(3, LINK)).deadlock(waiting)
    assert sentence is not None and told in sentence and sentence.startswith("Deadlock: ") and sentence.count(".") == 1


def test_a_wrong_tag_is_pointed_out() -> None:
    s = Switch(switch(2, LINK))
    s.send(0, 1, 3, b"x")
    assert "rank 1 waits to receive from rank 0 with tag 0, which has ended (a message with tag 3 is there)" in str(s.deadlock({1: (0, 0)}))


def test_many_ranks_are_not_all_listed() -> None:
    told = Switch(switch(64, LINK)).deadlock({r: ((r + 1) % 64, 0) for r in range(64)})
    assert told is not None and "ranks 0 to 63 all wait" in told and "and so on for 64 ranks" in told and len(told) < 250
