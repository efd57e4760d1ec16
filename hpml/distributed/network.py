"""A network on paper: who is linked with whom, what crosses each link, and an α–β clock. Pure Python.

Simulated ranks (simulation.py) and the referee share it. The model, exactly: a link costs α seconds for each
message and β seconds for each byte (Hockney 1994); a message of n bytes that goes over a route of links takes

    T(n) = Σ α  +  max β · n                       over the links of its route (the bytes stream through: no store-and-forward)

- One port each way. A rank sends one message at a time, and receives one at a time; it can send and receive at once.
  send      the sender's clock moves on by T; the message has then left. (`Send` and `Isend` alike: nothing but messages is on this
            clock, so a send has no computation to hide behind, and the port is busy either way.)
  receive   arrived = max(left, port + T), where `port` is when the receiver's previous message had arrived;
            the receiver's clock becomes max(its clock, arrived). Messages are received in the order in which the rank asks for them.
  So N - 1 messages to one rank take (N - 1)·T, and so do N - 1 messages from one rank; a step of a ring takes one T.
- Sends are eager and buffered: a sender never waits for its receiver.
- A barrier sets every clock to the latest one, and costs nothing. A message to oneself costs nothing and is not counted.
- Links do not queue; that would make the clock depend on who happens to run first. Instead no run is faster than its busiest
  link: `seconds` = max(latest clock, most β · bytes over one directed link). So clock and counters depend on nothing but what
  each rank sends and receives, in its own order.
- `steps` is the latest clock of the same rules with T = 1 for every message: the longest chain of messages of which each must wait for
  the one before, because it carries it on or because a port is busy. For N ranks, gather-and-broadcast and ring have 2(N - 1) steps, a
  binomial tree up and down 2·log2 N (N a power of two).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Link:
    """One directed link: alpha in seconds for each message, beta in seconds for each byte. The topology gives it its name."""

    alpha: float
    beta: float
    kind: str = "link"                     # link | fast | slow | local
    name: str = ""

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.beta >= 0):
            raise ValueError(f"a link has alpha and beta of 0 or more, not {self.alpha} and {self.beta}")


@dataclass(frozen=True, eq=False)
class Topology:
    """`size` ranks and the way from each to each other. Made by ring, tree, two_level, torus and switch."""

    size: int
    name: str
    way: Callable[[int, int], list[Link]] = field(repr=False)
    _known: dict[tuple[int, int], tuple[Link, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a network has at least one rank, not {self.size}")

    def route(self, source: int, dest: int) -> list[Link]:
        """The directed links from source to dest, in order; none from a rank to itself. Raises ValueError for a rank that is not there."""
        for rank in (source, dest):
            if not 0 <= rank < self.size:
                raise ValueError(f"there is no rank {rank}: the ranks are 0 to {self.size - 1}")
        if source == dest:
            return []
        if (source, dest) not in self._known:
            self._known[source, dest] = tuple(self.way(source, dest))
        return list(self._known[source, dest])


def _hops(stops: list[int], link: Link) -> list[Link]:
    return [replace(link, name=f"{a}→{b}") for a, b in zip(stops, stops[1:], strict=False)]


def _around(a: int, b: int, n: int) -> list[int]:
    """Stops from a to b on a circle of n, the shorter way; upwards where both are as long."""
    up = (b - a) % n
    return [(a + k) % n for k in range(up + 1)] if up <= n - up else [(a - k) % n for k in range(n - up + 1)]


def switch(n: int, link: Link) -> Topology:
    """Every pair of ranks directly, as through a switch that never congests."""
    return Topology(n, f"switch of {n}", lambda a, b: _hops([a, b], link))


def ring(n: int, link: Link) -> Topology:
    """Rank r is linked with r - 1 and r + 1, both ways; messages go the shorter way round."""
    return Topology(n, f"ring of {n}", lambda a, b: _hops(_around(a, b, n), link))


def tree(n: int, link: Link) -> Topology:
    """A binary tree: rank r > 0 is linked with its parent (r - 1) // 2; messages go up to the common ancestor and down again."""
    def way(a: int, b: int) -> list[Link]:
        up, down = [a], [b]
        while up[-1] != down[-1]:
            if up[-1] > down[-1]:
                up.append((up[-1] - 1) // 2)
            else:
                down.append((down[-1] - 1) // 2)
        return _hops(up + down[-2::-1], link)
    return Topology(n, f"binary tree of {n}", way)


def two_level(nodes: int, per_node: int, fast: Link, slow: Link) -> Topology:
    """Rank r is on node r // per_node. Inside a node every pair has a fast link; each node has ONE slow link out and
    one in, shared by its ranks.

    A message to another node takes slow.alpha + slow.beta · n, and is counted on both nodes' slow links.
    """
    inside, out = replace(fast, kind="fast"), replace(slow, kind="slow")

    def way(a: int, b: int) -> list[Link]:
        here, there = a // per_node, b // per_node
        if here == there:
            return _hops([a, b], inside)
        return [replace(out, name=f"node {here}→"), replace(out, alpha=0.0, name=f"→node {there}")]
    if nodes < 1 or per_node < 1:
        raise ValueError(f"a network has at least one node and one rank on each, not {nodes} and {per_node}")
    return Topology(nodes * per_node, f"{nodes} nodes of {per_node}", way)


def torus(rows: int, columns: int, link: Link) -> Topology:
    """Rank r is at row r // columns, column r % columns; each row and each column is a ring. Messages go along the row first."""
    def way(a: int, b: int) -> list[Link]:
        along = [a // columns * columns + c for c in _around(a % columns, b % columns, columns)]
        down = [r * columns + b % columns for r in _around(a // columns, b // columns, rows)]
        return _hops(along + down[1:], link)
    if rows < 1 or columns < 1:
        raise ValueError(f"a torus has at least one row and one column, not {rows} and {columns}")
    return Topology(rows * columns, f"torus of {rows}×{columns}", way)


@dataclass
class Message:
    """One message: when its sender began (seconds), when it had left, and when its receiver had it (None: nobody asked for it yet)."""

    source: int
    dest: int
    nbytes: int
    sent: float
    left: float
    tag: int = 0
    arrived: float | None = None


class _Ports:
    """The clock of the module's docstring: one port each way."""

    def __init__(self, size: int) -> None:
        self.clock, self.port = [0.0] * size, [0.0] * size

    def send(self, source: int, takes: float) -> float:
        self.clock[source] += takes
        return self.clock[source]

    def receive(self, dest: int, left: float, takes: float) -> float:
        arrived = max(left, self.port[dest] + takes) if takes else left
        self.port[dest] = max(self.port[dest], arrived)
        self.clock[dest] = max(self.clock[dest], arrived)
        return arrived

    def barrier(self) -> None:
        self.clock[:] = [max(self.clock)] * len(self.clock)


class Network:
    """Counters and clock of one run on a topology. The rules are in the docstring of this module."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.messages: list[Message] = []                     # a message's id is its place here
        self.bytes_sent = [0] * topology.size
        self.bytes_on: Counter[Link] = Counter()              # directed link → bytes
        self._time, self._rounds = _Ports(topology.size), _Ports(topology.size)
        self._left_round: list[float] = []

    @property
    def size(self) -> int:
        return self.topology.size

    @property
    def clock(self) -> list[float]:
        """Seconds, for each rank."""
        return self._time.clock

    @property
    def seconds(self) -> float:
        """When all is done: the latest clock, or the busiest link's time if that is more."""
        return max(*self.clock, *(link.beta * n for link, n in self.bytes_on.items()), 0.0)

    def takes(self, source: int, dest: int, nbytes: int) -> float:
        """Seconds that a message of nbytes is on its way: Σ α + max β · nbytes."""
        route = self.topology.route(source, dest)
        return sum(link.alpha for link in route) + max((link.beta for link in route), default=0.0) * nbytes

    def send(self, source: int, dest: int, nbytes: int, tag: int = 0) -> int:
        """A message leaves. Returns its id; raises ValueError for a rank that is not there."""
        route = self.topology.route(source, dest)
        began = self.clock[source]
        self.messages.append(Message(source, dest, nbytes, began, self._time.send(source, self.takes(source, dest, nbytes)), tag))
        self._left_round.append(self._rounds.send(source, 1.0 if route else 0.0))
        self.bytes_sent[source] += nbytes if route else 0
        for link in route:
            self.bytes_on[link] += nbytes
        return len(self.messages) - 1

    def receive(self, message: int) -> float:
        """The receiver has asked for this message and has it. Returns when; raises ValueError if it did before."""
        m = self.messages[message]
        if m.arrived is not None:
            raise ValueError(f"message {message} was received before")
        m.arrived = self._time.receive(m.dest, m.left, self.takes(m.source, m.dest, m.nbytes))
        self._rounds.receive(m.dest, self._left_round[message], 1.0 if m.source != m.dest else 0.0)
        return m.arrived

    def barrier(self) -> None:
        """Every rank has waited for every other one."""
        self._time.barrier()
        self._rounds.barrier()

    def counters(self) -> dict[str, float]:
        """messages, steps, bytes_per_rank (most that one sends), bytes_per_link and slow_bytes (most over one, one slow link), seconds."""
        return {"messages": sum(m.source != m.dest for m in self.messages), "steps": int(max(self._rounds.clock)),
                "bytes_per_rank": max(self.bytes_sent), "bytes_per_link": max(self.bytes_on.values(), default=0),
                "slow_bytes": max((n for link, n in self.bytes_on.items() if link.kind == "slow"), default=0), "seconds": self.seconds}


Waiting = Mapping[int, tuple[int, int] | None]          # rank → the (source, tag) that it waits to receive, or None: at a barrier


class Switch:
    """Where every message passes: one queue for each (source, dest, tag), first in, first out, with the network's counters and clock.

    It moves payloads and never looks into them; who drives it (threads of one process, or a referee over many) decides who runs.
    """

    def __init__(self, topology: Topology) -> None:
        self.network = Network(topology)
        self._queues: dict[tuple[int, int, int], deque[tuple[int, Any]]] = {}

    def send(self, source: int, dest: int, tag: int, payload: Any, nbytes: int | None = None) -> int:
        """Queue a payload (bytes or array; anything else with nbytes). Returns its id; raises ValueError for an unknown rank."""
        size = nbytes if nbytes is not None else int(getattr(payload, "nbytes", None) or len(payload))
        message = self.network.send(source, dest, size, tag)
        self._queues.setdefault((source, dest, tag), deque()).append((message, payload))
        return message

    def ready(self, rank: int, source: int, tag: int) -> bool:
        """Whether take() would find a message now. Raises ValueError for an unknown rank."""
        self.network.topology.route(source, rank)
        return bool(self._queues.get((source, rank, tag)))

    def take(self, rank: int, source: int, tag: int) -> Any:
        """The oldest such payload; moves the receiver's clock. Raises LookupError if there is none."""
        if not self.ready(rank, source, tag):
            raise LookupError(f"no message from rank {source} with tag {tag} is there for rank {rank}")
        message, payload = self._queues[source, rank, tag].popleft()
        self.network.receive(message)
        return payload

    def unread(self) -> list[Message]:
        """Messages that nobody has taken, oldest first."""
        return [self.network.messages[m] for m in sorted(m for queue in self._queues.values() for m, _ in queue)]

    def deadlock(self, waiting: Waiting) -> str | None:
        """To be asked when no rank is running: `waiting` holds every rank that has not ended. None if one can go on; else why none can."""
        at_barrier = sorted(rank for rank, what in waiting.items() if what is None)
        receiving = {rank: what for rank, what in sorted(waiting.items()) if what is not None}
        if not waiting or len(at_barrier) == self.network.size or any(self.ready(r, *what) for r, what in receiving.items()):
            return None
        reasons = self._why_receiving(receiving, waiting), self._why_barrier(at_barrier, waiting)
        return f"Deadlock: {'; '.join(filter(None, reasons))}."

    def _why_receiving(self, receiving: Mapping[int, tuple[int, int]], waiting: Waiting) -> str:
        if not receiving:
            return ""
        def why(rank: int) -> str:
            source, tag = receiving[rank]
            others = sorted({t for s, d, t in self._queues if (s, d) == (source, rank) and self._queues[s, d, t]})
            said = f"rank {rank} from rank {source}" + (f" with tag {tag}" if tag or others else "")
            said += ", which has ended" if source not in waiting else ", which is at a barrier" if waiting[source] is None else ""
            return said + (f" (a message with tag {others[0]} is there)" if others else "")
        some = list(receiving)
        if len(some) == 1:
            return why(some[0]).replace(" from", " waits to receive from", 1)
        shown = ", ".join(map(why, some[:4])) + (f" and so on for {len(some)} ranks" if len(some) > 4 else "")
        return f"{_ranks(some)} {'both' if len(some) == 2 else 'all'} wait to receive, and nothing is on its way ({shown})"

    def _why_barrier(self, at_barrier: list[int], waiting: Waiting) -> str:
        ended = [rank for rank in range(self.network.size) if rank not in waiting]
        if not at_barrier or not ended:
            return f"{_ranks(at_barrier)} {_verb(at_barrier)} at a barrier" if at_barrier else ""
        return f"{_ranks(at_barrier)} {_verb(at_barrier)} at a barrier that {_ranks(ended)} ended without reaching"


def _verb(ranks: list[int]) -> str:
    return "waits" if len(ranks) == 1 else "wait"


def _ranks(ranks: list[int]) -> str:
    """rank 0 | ranks 0 and 1 | ranks 0, 1 and 2 | ranks 0 to 7"""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > 3 and ranks[-1] - ranks[0] == len(ranks) - 1:
        return f"ranks {ranks[0]} to {ranks[-1]}"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"
