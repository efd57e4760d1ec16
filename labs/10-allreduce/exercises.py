"""The trusted side of lab 10: inputs, oracles, budgets, pictures and hints.

Conventions: `x` is a float32 vector of n numbers, a different one on every rank; an allreduce returns the mean over ranks on every rank.
The network of the lab: α = 20 µs, β = 0.32 ns per byte (25 Gb/s); inside a node 2 µs and 0.02 ns per byte (50 GB/s).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from math import ceil, log2
from typing import Any

import numpy as np

from hpml import plots, theme
from hpml.distributed.network import Link, Network, Topology, switch, two_level
from hpml.exercise import Case, Exercise, Hint, PerRank, Prediction, Size

CABLE = Link(20e-6, 0.32e-9)                  # between machines: 25 Gb/s
INSIDE = Link(2e-6, 0.02e-9)                  # between the devices of one machine: 50 GB/s
ITEM = 4                                      # bytes of a float32

# ------------------------------------------------------------------------------------------------- inputs and oracles


@functools.cache
def clothes() -> tuple[np.ndarray, np.ndarray]:
    """Real images (N, 784) float32 in 0 to 1, and their labels."""
    from hpml import data

    mini = data.load("fashion-mnist-mini")
    return mini.x_train.reshape(len(mini.x_train), -1).astype(np.float32) / 255, mini.y_train


def gradient(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy of softmax(x @ w) with respect to w (784, 10), in double precision."""
    scores = x.astype(np.float64) @ w
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return x.T.astype(np.float64) @ p / len(y)


def sample_gradients(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """gradients (workers, 784, 10), each the mean over one worker's images, and counts (workers,), how many those were."""
    images, labels = clothes()
    chosen = rng.permutation(len(images))[:size["images"]]
    w = 0.01 * rng.standard_normal((784, 10))
    workers = size["workers"]
    if size["uneven"]:
        cuts = np.sort(rng.choice(np.arange(1, size["images"]), workers - 1, replace=False))
    else:
        cuts = size["images"] // workers * np.arange(1, workers)
    shards = np.split(chosen, cuts)
    gradients = np.stack([gradient(w, images[s], labels[s]) for s in shards]).astype(np.float32)
    return gradients, np.array([len(s) for s in shards])


def big_batch(gradients: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The gradient of all images together: each image counts once, whoever had it."""
    return np.average(gradients.astype(np.float64), axis=0, weights=counts).astype(np.float32)


def sample_vectors(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x (n,) float32, different on every rank."""
    return (PerRank([rng.standard_normal(size["n"], dtype=np.float32) for _ in range(size["ranks"])]),)


def sample_nodes(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """x, and how many ranks share a node."""
    return (*sample_vectors(rng, size), size["per_node"])


def total(x: PerRank) -> np.ndarray:
    return np.sum([np.asarray(v, np.float64) for v in x.values], axis=0)


def mean(x: PerRank, per_node: int = 1) -> PerRank:
    """The mean over ranks, on every rank. How the ranks share nodes changes the messages, never the result."""
    result = (total(x) / len(x.values)).astype(np.float32)
    return PerRank([result] * len(x.values))


def chunks_of_sum(x: PerRank) -> PerRank:
    """Chunk r of the sum for rank r."""
    return PerRank(np.array_split(total(x).astype(np.float32), len(x.values)))


# -------------------------------------------------------------------------------- networks, and what may be sent on them


def flat(size: Size) -> Topology:
    return switch(size["ranks"], CABLE)


def nodes(size: Size) -> Topology:
    return two_level(size["ranks"] // size["per_node"], size["per_node"], INSIDE, CABLE)


def piece(size: Size) -> int:
    """Bytes of the largest of N chunks."""
    return ITEM * ceil(size["n"] / size["ranks"])


def gather_budget(size: Size) -> dict[str, float]:
    return {"messages": 2 * (size["ranks"] - 1)}


def tree_budget(size: Size) -> dict[str, float]:
    levels = ceil(log2(size["ranks"]))
    return {"steps": 2 * levels, "bytes_per_rank": levels * size["n"] * ITEM}


def scatter_budget(size: Size) -> dict[str, float]:
    return {"steps": size["ranks"] - 1, "bytes_per_rank": (size["ranks"] - 1) * piece(size)}


def ring_budget(size: Size) -> dict[str, float]:
    return {"steps": 2 * (size["ranks"] - 1), "bytes_per_rank": 2 * (size["ranks"] - 1) * piece(size)}


def two_level_budget(size: Size) -> dict[str, float]:
    """2(M - 1)/M of the array out of each of M nodes, chunks rounded up."""
    machines = size["ranks"] // size["per_node"]
    part = ceil(size["n"] / size["per_node"])
    return {"slow_bytes": size["per_node"] * 2 * (machines - 1) * ceil(part / machines) * ITEM}


# --------------------------------------------------------------------- schedules: who sends how much to whom, in which order

Round = list[tuple[int, int, int, str, str]]   # messages that go at the same time: source, dest, bytes, phase, what it carries


def gather_rounds(size: Size) -> Iterable[Round]:
    n = size["n"] * ITEM
    yield from ([(r, 0, n, "collect", "")] for r in range(1, size["ranks"]))
    yield from ([(0, r, n, "hand out", "")] for r in range(1, size["ranks"]))


def tree_rounds(size: Size) -> Iterable[Round]:
    n, ranks = size["n"] * ITEM, size["ranks"]
    levels = [1 << k for k in range(ceil(log2(ranks)))]
    yield from ([(r + d, r, n, "collect", "") for r in range(0, ranks - d, 2 * d)] for d in levels)
    yield from ([(r, r + d, n, "hand out", "") for r in range(0, ranks - d, 2 * d)] for d in reversed(levels))


def circle(members: Sequence[int], lengths: Sequence[int], first: int, phase: str) -> Iterable[Round]:
    """N - 1 steps around a ring; in step s the member at place p passes chunk p - s - first on to the next."""
    count = len(members)
    for step in range(count - 1):
        chunks = [(p - step - first) % count for p in range(count)]
        yield [(members[p], members[(p + 1) % count], lengths[k] * ITEM, phase, str(k)) for p, k in enumerate(chunks)]


def lengths(n: int, parts: int) -> list[int]:
    return [len(c) for c in np.array_split(np.empty(n), parts)]


def scatter_rounds(size: Size) -> Iterable[Round]:
    ranks = range(size["ranks"])
    return circle(ranks, lengths(size["n"], len(ranks)), 1, "collect")


def ring_rounds(size: Size) -> Iterable[Round]:
    ranks = range(size["ranks"])
    parts = lengths(size["n"], len(ranks))
    return itertools.chain(circle(ranks, parts, 1, "collect"), circle(ranks, parts, 0, "hand out"))


def together(*streams: Iterable[Round]) -> Iterable[Round]:
    """Several groups at the same time."""
    return ([message for part in rounds for message in part] for rounds in itertools.zip_longest(*streams, fillvalue=[]))


def two_level_rounds(size: Size) -> Iterable[Round]:
    ranks, per_node = size["ranks"], size["per_node"]
    inside = [range(first, first + per_node) for first in range(0, ranks, per_node)]
    across = [range(local, ranks, per_node) for local in range(per_node)]
    parts = lengths(size["n"], per_node)
    pieces = [lengths(part, ranks // per_node) for part in parts]
    return itertools.chain(
        together(*(circle(group, parts, 1, "collect") for group in inside)),
        together(*(circle(group, cut, 1, "collect") for group, cut in zip(across, pieces, strict=True))),
        together(*(circle(group, cut, 0, "hand out") for group, cut in zip(across, pieces, strict=True))),
        together(*(circle(group, parts, 0, "hand out") for group in inside)))


def play(topology: Topology, rounds: Iterable[Round]) -> tuple[Network, list[tuple[str, str]]]:
    """The schedule on the clock; the phase of each message and what it carries beside it."""
    network, phases = Network(topology), []
    for messages in rounds:
        sent = [network.send(source, dest, nbytes) for source, dest, nbytes, *_ in messages]
        phases += [(phase, carries) for *_, phase, carries in messages]
        for message in sent:
            network.receive(message)
    return network, phases


# ------------------------------------------------------------------------------------------ recognising wrong results


def of_ranks(value: Any, count: int) -> list[Any]:
    """One value for each rank, None where nothing usable came."""
    values = value.values if isinstance(value, PerRank) else value
    if isinstance(values, list | tuple) and len(values) == count:
        return [v if isinstance(v, np.ndarray) and v.dtype.kind in "fiu" else None for v in values]
    return [values if isinstance(values, np.ndarray) and values.dtype.kind in "fiu" else None] * count


def inputs(case: Case) -> list[np.ndarray]:
    return list(case.args[0].values)


def results(case: Case) -> list[Any]:
    return of_ranks(case.got, case.size["ranks"])


def like(got: Any, wanted: np.ndarray) -> bool:
    """The same shape, and the same numbers within 1e-4 of the largest."""
    if got is None or got.shape != wanted.shape:
        return False
    return bool(np.allclose(got, wanted, rtol=0, atol=1e-4 * max(float(np.abs(wanted).max(initial=0)), 1e-30)))


def all_like(case: Case, factor: float) -> bool:
    """Every rank has `factor` times what it should have, and that is something else."""
    wanted = of_ranks(case.expected, case.size["ranks"])
    return factor != 1 and all(like(g, factor * w) for g, w in zip(results(case), wanted, strict=True) if w.size)


def shares(got: Any, vectors: Sequence[np.ndarray]) -> np.ndarray | None:
    """How often each rank's numbers are in `got`: the c with got = Σ c·x, or None where there is none (or too few numbers to tell)."""
    if got is None or got.ndim != 1 or not len(vectors) <= len(got) == len(vectors[0]) or not np.isfinite(got).all():
        return None
    matrix = np.stack(vectors, axis=1).astype(np.float64)
    found = np.linalg.lstsq(matrix, got.astype(np.float64), rcond=None)[0]
    return found if np.abs(matrix @ found - got).max() < 1e-4 * max(np.abs(got).max(), 1) else None


def holdings(case: Case) -> list[np.ndarray | None]:
    """`shares` of every rank's result, scaled so that 1 is what it should be; of its chunk where it returns one chunk."""
    vectors, got = inputs(case), results(case)
    wanted = of_ranks(case.expected, len(vectors))
    if all(w is not None and w.size == vectors[0].size for w in wanted):
        found = [shares(g, vectors) for g in got]
        return [None if f is None else f * len(vectors) for f in found]
    cut = list(zip(*(np.array_split(v, len(vectors)) for v in vectors), strict=True))
    return [shares(g, parts) for g, parts in zip(got, cut, strict=True)]


def some(case: Case, when: Callable[[np.ndarray], bool]) -> bool:
    return any(found is not None and when(found) for found in holdings(case))


def right(case: Case) -> bool:
    wanted = of_ranks(case.expected, case.size["ranks"])
    return all(like(g, w) for g, w in zip(results(case), wanted, strict=True))


def only_root(case: Case) -> bool:
    """Rank 0 has the result and another rank has not."""
    wanted = of_ranks(case.expected, case.size["ranks"])
    good = [like(g, w) for g, w in zip(results(case), wanted, strict=True)]
    return good[0] and not any(good[1:])


def one_chunk(case: Case) -> bool:
    """Every rank has its own chunk of the mean right and not the others: the second half of the ring is missing."""
    count = case.size["ranks"]
    wanted = of_ranks(case.expected, count)
    if case.size["n"] < count or count < 3:
        return False
    for rank, (g, w) in enumerate(zip(results(case), wanted, strict=True)):
        if g is None or g.shape != w.shape or like(g, w):
            return False
        good = [like(a, b) for a, b in zip(np.array_split(g, count), np.array_split(w, count), strict=True)]
        if not good[rank]:
            return False
    return True


def shifted(case: Case) -> bool:
    """Every rank holds a finished chunk, but another rank's."""
    wanted, count = of_ranks(case.expected, case.size["ranks"]), case.size["ranks"]
    return any(all(like(g, wanted[(r + by) % count]) for r, g in enumerate(results(case))) for by in range(1, count))


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    return Hint(lambda case: case.expected is not None and case.got is not None and not right(case) and when(case), text)


def counted(counter: str, budget: Callable[[Size], dict[str, float]], text: str) -> Hint:
    """A hint for right numbers that took too many messages, steps or bytes."""
    return Hint(lambda case: case.expected is not None and right(case) and counter in case.size
                and case.size[counter] > budget(case.size)[counter], text)


DOUBLE = Hint(lambda case: any(g is not None and g.dtype == np.float64 for g in results(case)),
              "A float64 came in somewhere, so every message is twice as long. Create buffers with the dtype of x.")
SUM = hint(lambda c: all_like(c, c.size["ranks"]), "Every rank has the sum over ranks. The average is asked for: who divides, and when?")
TWICE = hint(lambda c: all_like(c, 1 / c.size["ranks"]), "The result is divided by the number of ranks twice.")
ROOT = hint(only_root, "Rank 0 has the average, and it is alone with it. An allreduce ends with the result on every rank.")
BUFFER = hint(
    lambda c: some(c, lambda f: bool(np.abs(f).min() < 0.01 and np.abs(f).max() > 1.5)),
    "One rank's numbers are in a result several times, another's not at all. Did a message arrive in a buffer whose content was still "
    "needed? Appending an array to a list copies nothing: several entries may be the same buffer, and the next message fills all.")
MEANS = hint(
    lambda c: some(c, lambda f: bool(np.ptp(f) > 0.02 and abs(f.mean() - 1) < 0.01)),
    "The ranks do not weigh the same in your average. A mean of means is the mean only if each stands for as many ranks: add up first, "
    "divide once.")
OFTEN = hint(
    lambda c: some(c, lambda f: bool(np.ptp(f) > 0.4)),
    "Some rank's numbers are counted more often than others. Follow one rank's numbers through your messages: do they reach the same "
    "place on two ways?")


def missing(more: str) -> Hint:
    """Some rank's numbers are in a result nowhere."""
    return hint(lambda c: some(c, lambda f: bool(np.abs(f).min() < 0.01)),
                "The numbers of at least one rank are missing from a result: the white squares of the picture. " + more)


GATHER_HINTS = (
    DOUBLE, SUM, TWICE, ROOT, BUFFER, missing("Was every message that arrived added to the total before the next one came?"), MEANS, OFTEN,
    counted("messages", gather_budget, "There are more messages than two for each rank but one. One rank collects and hands out; the "
                                       "others do not need to talk to each other."),
)

TREE_HINTS = (
    DOUBLE, SUM, TWICE, ROOT, BUFFER,
    missing("Where the number of ranks is no power of two, not everybody has a partner in every round. Who has to carry the numbers of a "
            "rank without one?"),
    MEANS, OFTEN,
    counted("bytes_per_rank", tree_budget, "One rank sends more arrays than the tree has levels. Who hands the result on, apart from "
                                           "rank 0?"),
    counted("steps", tree_budget, "It takes more rounds than a tree is high. In each round every rank that still has something to give "
                                  "should find a partner, so that half of them are done after it."),
)

SCATTER_HINTS = (
    DOUBLE,
    hint(shifted, "Every rank holds a finished chunk, but not its own: the chunk indices are off by a constant. Which chunk has to leave "
                  "rank r first, so that chunk r is the one that arrives last?"),
    hint(lambda c: all_like(c, 1 / c.size["ranks"]), "Here the sum is asked for. The division comes at the very end, in the next "
                                                     "exercise."),
    hint(lambda c: all(g is not None and g.size == c.size["n"] for g in results(c)),
         "You return the whole array. Only one chunk of it is finished on this rank: chunk `comm.rank`."),
    BUFFER,
    missing("A chunk visits every rank but the one where it began, and at each stop that rank's own numbers are added to it. How many "
            "stops does it make with you, and what happens at each?"),
    OFTEN,
    counted("bytes_per_rank", scatter_budget, "Too many bytes go around the ring. In each step a rank passes on one chunk, the one "
                                              "that it has just added to; not the whole array."),
    counted("steps", scatter_budget, "It takes more than N - 1 steps. If a rank waits for its neighbour before it sends, the messages go "
                                     "around one after another instead of all at once."),
)

RING_HINTS = (
    DOUBLE, SUM, TWICE,
    hint(one_chunk, "Each rank has its own chunk of the average and none of the others: that is the first half of the ring. Finished "
                    "chunks have to go around once more."),
    ROOT, BUFFER, missing("In the second half nothing is added any more. Which chunk is finished on which rank, when it "
                          "begins?"), MEANS, OFTEN,
    counted("bytes_per_rank", ring_budget, "A rank sends more than 2(N - 1)/N times its array. Finished chunks travel one by one, too."),
    counted("steps", ring_budget, "It takes more than 2(N - 1) steps. All ranks should send in the same step, each a different chunk."),
)

TWO_LEVEL_HINTS = (
    hint(lambda c: all_like(c, c.size["per_node"]), "Every result is as many times too large as there are ranks on a node. Who has "
                                                    "divided by the number of nodes, and who by the number of ranks on each?"),
    DOUBLE, SUM, TWICE, ROOT, BUFFER,
    missing("First every node has its own sum, then the sums of all nodes meet. Who are the mates of rank 1, and who its "
            "peers?"), MEANS, OFTEN,
    counted("slow_bytes", two_level_budget, "Too much crosses the slow link between two nodes. How much does a node have to tell the "
                                            "others, if its ranks have first added up what they have? And does every rank of a node "
                                            "have to tell all of it?"),
)

# ----------------------------------------------------------------------------------------------------------- pictures

PHASE = {"collect": theme.BLUE, "hand out": theme.VERMILLION}


def draw_timeline(axis: Any, topology: Topology, rounds: Iterable[Round], title: str) -> None:
    """Rank × time: an arrow from when a message is sent to when it has arrived; blue while adding up, red while handing out.

    Around a ring, the circles hold the number of the chunk that travels.
    """
    network, phases = play(topology, rounds)
    scale = 1e6
    for message, (phase, carries) in zip(network.messages, phases, strict=True):
        if message.nbytes:
            slow = any(link.kind == "slow" for link in topology.route(message.source, message.dest))
            axis.annotate("", (message.arrived * scale, message.dest), (message.sent * scale, message.source),
                          arrowprops={"arrowstyle": "-|>", "color": PHASE[phase], "shrinkA": 0, "shrinkB": 0,
                                      "linewidth": 2.4 if slow else 1.3, "mutation_scale": 9})
            if carries and topology.size <= 4 and "nodes" not in topology.name:
                at = 0.16 if abs(message.dest - message.source) > 1 else 0.4
                axis.text((message.sent + at * (message.arrived - message.sent)) * scale,
                          message.source + at * (message.dest - message.source), carries, ha="center", va="center", fontsize=9,
                          fontweight="bold", color=PHASE[phase], bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": PHASE[phase]})
    axis.set(xlim=(0, max(network.seconds * scale, 1) * 1.03), ylim=(topology.size - 0.5, -0.5), xlabel=
        "time, µs (20 µs a message + bytes)",
             ylabel="rank", yticks=range(topology.size), title=title)
    axis.grid(axis="x", visible=False)


def draw_holdings(axis: Any, case: Case) -> None:
    """Whose numbers are in whose result: 1 where they should be, once each; white where they are missing."""
    count = case.size["ranks"]
    axis.set_title("who is in your results")
    axis.set(xlabel="numbers of rank", ylabel="result on rank", xticks=range(count), yticks=range(count),
             xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    axis.grid(visible=False)
    if case.got is None or all(g is None for g in results(case)):
        axis.text((count - 1) / 2, (count - 1) / 2, "nothing came\nback yet", ha="center", va="center")
        return
    size = max(7, 11 - count // 2)
    wanted = of_ranks(case.expected, count)
    for rank, (found, got) in enumerate(zip(holdings(case), results(case), strict=True)):
        if found is None:
            axis.text((count - 1) / 2, rank, _words(got, wanted[rank], count), ha="center", va="center", fontsize=size)
            continue
        for source, value in enumerate(found):
            good = abs(value - 1) < 0.01
            if abs(value) > 0.01:
                axis.add_patch(_square(source, rank, theme.GREEN if good else theme.ORANGE))
            axis.text(source, rank, f"{round(value, 2) + 0:g}", ha="center", va="center", fontsize=size,
                      color="white" if good else "black" if abs(value) > 0.01 else plots.INK)


def _words(got: Any, wanted: np.ndarray, count: int) -> str:
    """What a result is that no sum of the inputs explains."""
    if got is None:
        return "nothing"
    if got.shape != wanted.shape:
        return f"{got.size} numbers, not {wanted.size}"
    if like(got, wanted):
        return "as expected"
    good = sum(like(a, b) for a, b in zip(np.array_split(got, count), np.array_split(wanted, count), strict=True))
    return f"{good} of {count} chunks right" if good else "something else"


def _square(x: float, y: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=colour, edgecolor="none")


def draw_messages(topology: Callable[[Size], Topology], rounds: Callable[[Size], Iterable[Round]], name: str) -> Callable[[Case], Any]:
    """The picture of an exercise: the messages that are wanted, and what they have made of your results."""
    def draw(case: Case) -> Any:
        count = case.size["ranks"]
        figure, (left, end) = plots.figure(8.6, 1.7 + 0.36 * count, columns=2, width_ratios=[1.9, 1])
        draw_timeline(left, topology(case.size), rounds(case.size), f"{name}: {count} ranks, {case.size['n']} numbers")
        draw_holdings(end, case)
        return figure
    return draw


def draw_gradients(case: Case) -> Any:
    """The gradient of the weights of one class, as an image: each worker's, the big batch's, and yours."""
    gradients, counts = case.args
    shown = min(len(gradients), 4)
    q = int(np.minimum(case.expected.clip(0).sum(axis=0), -case.expected.clip(None, 0).sum(axis=0)).argmax())     # both colours
    figure, axes = plots.figure(1.5 * (shown + 2), 2.0, columns=shown + 2)
    top = float(np.abs(case.expected[:, q]).max()) * 1.5
    pictures = [(f"worker {r}:\n{counts[r]} images", gradients[r]) for r in range(shown)]
    pictures += [("expected:\nbig batch", case.expected), ("yours\n", case.got)]
    for axis, (title, values) in zip(axes, pictures, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        if isinstance(values, np.ndarray) and values.shape == case.expected.shape and values.dtype.kind in "fiu":
            axis.imshow(values[:, q].reshape(28, 28), cmap="PuOr", vmin=-top, vmax=top)
        else:
            shape = "nothing came\nback yet" if not isinstance(values, np.ndarray) else f"shape\n{values.shape}"
            axis.text(0.5, 0.5, shape, ha="center", va="center", fontsize=9, transform=axis.transAxes)
            axis.set_box_aspect(1)
    return figure


# ---------------------------------------------------------------------------------------------- hints on gradient_mean


def is_gradient(make: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Case], bool]:
    """True where the result is what `make(gradients, counts)` gives, and not the right one."""
    def when(case: Case) -> bool:
        got = case.got
        if not isinstance(got, np.ndarray) or got.dtype.kind not in "fiu" or case.expected is None:
            return False
        return like(got, make(*(np.asarray(a, np.float64) for a in case.args))) and not like(got, case.expected)
    return when


GRADIENT_HINTS = (
    Hint(is_gradient(lambda g, c: g.sum(0)), "That is the sum of the workers' gradients. Each of them is a mean already; with four "
                                             "workers the sum is about four times too long, as if the learning rate were four times as "
                                             "large."),
    Hint(is_gradient(lambda g, c: g.mean(0)), "Every worker has the same say here, whether it saw many images or few. In the big batch "
                                              "every image has the same say."),
    Hint(is_gradient(lambda g, c: np.tensordot(c, g, 1)), "You add up over images and do not divide by how many there are."),
    Hint(is_gradient(lambda g, c: np.tensordot(c, g, 1) / len(c)),
        "You divide by the number of workers. How many images went into the sum?"),
    Hint(is_gradient(lambda g, c: np.tensordot(c / c.sum(), g, 1) / len(c)), "The weights add up to 1 already; you divide once more."),
    Hint(lambda case: isinstance(case.got, np.ndarray) and case.got.dtype == np.float64,
         "The counts are integers of 64 bits, and an average weighted by them comes out in float64: twice the bytes for every message "
         "to come. Give the gradient back in the type in which it came."),
)

# -------------------------------------------------------------------------------------------------------- predictions


def gather_seconds(ranks: int, nbytes: float, link: Link = CABLE) -> float:
    return 2 * (ranks - 1) * (link.alpha + link.beta * nbytes)


def tree_seconds(ranks: int, nbytes: float, link: Link = CABLE) -> float:
    return 2 * ceil(log2(ranks)) * (link.alpha + link.beta * nbytes)


def ring_seconds(ranks: int, nbytes: float, link: Link = CABLE) -> float:
    return 2 * (ranks - 1) * (link.alpha + link.beta * nbytes / ranks)


def two_level_seconds(ranks: int, nbytes: float, per_node: int = 4) -> float:
    """Inside, across, inside, one after another; a node's cable carries 2(M - 1)/M of the array."""
    within = 2 * (per_node - 1) * (INSIDE.alpha + INSIDE.beta * nbytes / per_node)
    return within + ring_seconds(ranks // per_node, nbytes)


def crossover(ranks: int, link: Link = CABLE) -> float:
    """The array's bytes from which the ring beats the tree."""
    levels = ceil(log2(ranks))
    return link.alpha / link.beta * (ranks - 1 - levels) / (levels - (ranks - 1) / ranks)


MEASURED_BYTES = 64_000


def real_rings(*ways: str) -> tuple[np.ndarray, np.ndarray]:
    """The lab's clock on two real processes of this machine: SIZES in bytes, and for each the seconds of a message and of these ways,
    functions of the reference solution or "silent", its ring without messages."""
    from hpml import course, source
    from hpml.distributed.mpi import run_mpi

    text = source.read(course.load().lab("10-allreduce"))
    names: dict[str, Any] = {"__name__": "__ranks__"}                   # so that its functions travel by value
    silent = "def silent(comm, x):\n    return ring_allreduce(Silent(comm), x)"
    for part in (text.given["preamble"], text.answers["reduce_scatter"], text.answers["ring_allreduce"], text.given["clocked"], silent):
        exec(part, names)
    functions = [names[way] for way in ways]
    return np.array(names["SIZES"]), np.array(run_mpi(names["clocked"], [(functions,)] * 2).results[0])


def fitted(sizes: np.ndarray, seconds: np.ndarray) -> Link:
    """α and β of the straight line with the least relative errors, as the notebook fits it."""
    beta, alpha = np.polyfit(sizes, seconds, 1, w=1 / seconds)
    return Link(max(float(alpha), 0.0), float(beta))


_FACTOR: list[float] = []


def real_factor() -> float | None:
    """How many times longer than its messages the ring takes, on two processes; None where these cannot be started.

    Measured once in a referee's life: all readers whom it serves are on the same machine.
    """
    if not _FACTOR:
        try:
            sizes, rows = real_rings("ring_allreduce")
        except (RuntimeError, OSError):
            return None
        place = sizes.tolist().index(MEASURED_BYTES)
        _FACTOR.append(float(rows[place, 1]) / ring_seconds(2, MEASURED_BYTES, fitted(sizes, rows[:, 0])))
    return _FACTOR[0]


# ------------------------------------------------------------------------------------------------------- declarations

FEW = ({"ranks": 4, "n": 22}, {"ranks": 3, "n": 10})
MORE = ({"ranks": 8, "n": 1003}, {"ranks": 5, "n": 3})
NODES = ({"ranks": 4, "per_node": 2, "n": 22}, {"ranks": 6, "per_node": 3, "n": 20})
MORE_NODES = ({"ranks": 8, "per_node": 2, "n": 1003}, {"ranks": 6, "per_node": 2, "n": 4})

EXERCISES: dict[str, Exercise | Prediction] = {
    "gradient_mean": Exercise(
        sample=sample_gradients, oracle=big_batch, sizes=({"workers": 4,
            "images": 64,
            "uneven": 0}, {
            "workers": 3,
            "images": 50,
            "uneven": 1}),
        hidden=({"workers": 7, "images": 40, "uneven": 1}, {"workers": 1,
            "images": 5,
            "uneven": 0}), draw=draw_gradients, hints=GRADIENT_HINTS),
    "gather_broadcast": Exercise(
        sample=sample_vectors, oracle=mean, sizes=FEW, hidden=MORE, world="simulated", network=flat, counters=gather_budget,
        draw=draw_messages(flat, gather_rounds, "collect on rank 0, hand out"), hints=GATHER_HINTS),
    "tree_allreduce": Exercise(
        sample=sample_vectors, oracle=mean, sizes=FEW, hidden=({"ranks": 8, "n": 1003}, {"ranks": 5, "n": 3}, {"ranks": 6, "n": 7}),
        world="simulated", network=flat, counters=tree_budget, draw=draw_messages(flat, tree_rounds, "up the tree, and down"),
        hints=TREE_HINTS),
    "ring_bytes": Prediction(
        truth=lambda verdicts: 2 * 7 / 8, unit="×",
        explain=lambda guess, truth: "An array is 8 chunks. In each half a rank passes on 7 of them, all but one: 2 · 7/8."),
    "reduce_scatter": Exercise(
        sample=sample_vectors, oracle=chunks_of_sum, sizes=FEW, hidden=MORE, world="simulated", network=flat, counters=scatter_budget,
        draw=draw_messages(flat, scatter_rounds, "once around the ring"), hints=SCATTER_HINTS),
    "ring_allreduce": Exercise(
        sample=sample_vectors, oracle=mean, sizes=FEW, hidden=MORE, uses=("reduce_scatter",), world="simulated", network=flat,
        counters=ring_budget, draw=draw_messages(flat, ring_rounds, "twice around the ring"), hints=RING_HINTS),
    "crossover": Prediction(
        truth=lambda verdicts: crossover(8) / 1e3, unit="kB",
        explain=lambda guess, truth: "Set the two times equal: 6(α + βn) = 14(α + βn/8). The ring has 8 more latencies to pay, and "
                                     "saves 4.25 times the array's transfer."),
    "two_level_allreduce": Exercise(
        sample=sample_nodes, oracle=mean, sizes=NODES, hidden=MORE_NODES, uses=("Group", "reduce_scatter", "ring_allreduce"),
        world="simulated", network=nodes, counters=two_level_budget,
        draw=draw_messages(nodes, two_level_rounds, "inside, across, inside"), hints=TWO_LEVEL_HINTS),
    "real_factor": Prediction(
        truth=lambda verdicts: real_factor(), unit="×",
        explain=lambda guess, truth: "The formula knows two messages. Beside them a rank runs Python and NumPy: it cuts, copies, adds, "
                                     "divides and makes new arrays, and none of that is in α or β."),
}
