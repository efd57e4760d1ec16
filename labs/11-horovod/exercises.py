"""The trusted side of lab 11: inputs, oracles, the ceiling, pictures and hints.

The oracle of `train` is one process that trains on the whole minibatch of all workers. The network has no batch normalisation, so the
two agree but for the order in which float32 numbers are added.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hpml.exercise import Case, Exercise, Hint, PerRank, Prediction, Size

WIDTHS = (16, 32, 64)
FRAMEWORK = ("tensorflow", "keras", "horovod.tensorflow")

# ------------------------------------------------------------------------------------------------------------- inputs


def small(rng: np.random.Generator) -> list[np.ndarray]:
    """A kernel, a bias and a dense layer: three arrays, as a network has them."""
    return [rng.standard_normal(shape, dtype=np.float32) for shape in ((3, 3, 2), (4,), (4, 6))]


def per_rank(rng: np.random.Generator, number: int, make: Callable[[np.random.Generator], list[Any]]) -> tuple[PerRank, ...]:
    """What every rank's own `make` gives, as one argument for each of its parts."""
    return tuple(PerRank(part) for part in zip(*(make(rng) for _ in range(number)), strict=True))


def sample_shard(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """images, rank, size, batch, epoch, seed; the number of images leaves a rest."""
    workers, batch = size["workers"], size["batch"]
    images = size["steps"] * workers * batch + size["rest"]
    return images, size["rank"], workers, batch, size["epoch"], int(rng.integers(1, 1000))


def sample_weights(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """Three arrays, different on every rank."""
    return per_rank(rng, size["ranks"], small)


def sample_metrics(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """(loss, accuracy) and the number of pictures that they are the mean of; the last rank has a short rest."""
    counts = [int(n) for n in rng.integers(40, 60, size["ranks"])]
    counts[-1] = int(rng.integers(3, 9))
    values = [np.array([rng.uniform(0.2, 2.5), rng.uniform(0.1, 0.95)], np.float32) for _ in counts]
    return PerRank(values), PerRank(counts)


def sample_checkpoint(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A step and three arrays, different on every rank."""
    return int(rng.integers(10, 1000)), *sample_weights(rng, size)


def sample_rates(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """base, workers, steps, warm-up steps."""
    return float(np.round(rng.uniform(0.01, 0.2), 3)), size["workers"], size["steps"], size["warm"]


def shapes(widths: Sequence[int] = WIDTHS) -> list[tuple[int, ...]]:
    """Shapes of the network's arrays, in order."""
    found: list[tuple[int, ...]] = [(3, 3, 1, widths[0]), (widths[0],), (widths[0],)]
    before = widths[0]
    for width in widths:
        found += [(3, 3, before, width), (width,), (width,), (3, 3, width, width)]
        found += [(1, 1, before, width)] if width != before else []
        found += [(width,), (width,)]
        before = width
    return [*found, (before, 10), (10,)]


def initial(rng: np.random.Generator) -> list[np.ndarray]:
    """Random weights (He et al. 2015); scales of the normalisation near 1, everything else with one axis near 0."""
    found, scale = [], True
    for shape in shapes():
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) > 1:
            found.append(values * np.float32((2 / np.prod(shape[:-1])) ** 0.5))
            continue
        found.append(np.float32(scale and shape != (10,)) + np.float32(0.05) * values)
        scale = not scale
    return found


@functools.cache
def clothes() -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST: pictures (10000, 28, 28, 1) float32 in 0..1, labels int64."""
    from hpml import data

    mini = data.load("fashion-mnist-mini")
    return mini.x_train.astype(np.float32) / 255, mini.y_train


def sample_train(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """images, labels, batch, epoch, seed, rate; and weights, different on every rank."""
    number = size["ranks"] * size["batch"] * size["steps"] + size["rest"]
    images, labels = clothes()
    chosen = rng.choice(len(images), number, replace=False)
    rate = 0.1 if size["steps"] < 4 else 0.01       # mistakes show at once; over more steps roundings would grow as fast as they do
    moved = np.roll(images[chosen], int(rng.integers(-2, 3)), axis=int(rng.integers(1, 3)))
    return (moved, labels[chosen], size["batch"], int(rng.integers(1, 9)), int(rng.integers(1, 1000)), rate,
            *per_rank(rng, size["ranks"], initial))


# ------------------------------------------------------------------------------------------------------------ oracles


def shard(images: int, rank: int, size: int, batch: int, epoch: int, seed: int) -> np.ndarray:
    """Picture numbers (steps, batch) of one worker: its columns of the minibatches that one big worker would read."""
    steps = images // (size * batch)
    order = np.random.default_rng([seed, epoch]).permutation(images)
    return order[: steps * size * batch].reshape(steps, size, batch)[:, rank]


def first_rank(*weights: PerRank) -> tuple[np.ndarray, ...]:
    return tuple(w.values[0] for w in weights)


def mean_of_ranks(*gradients: PerRank) -> tuple[np.ndarray, ...]:
    return tuple(np.mean(g.values, axis=0, dtype=np.float64).astype(np.float32) for g in gradients)


def mean_of_pictures(values: PerRank, count: PerRank) -> np.ndarray:
    """The mean over all pictures, whoever saw them."""
    return np.average(np.stack(values.values).astype(np.float64), axis=0, weights=count.values).astype(np.float32)


def two_lives(step: int, *weights: PerRank) -> tuple[np.ndarray, ...]:
    """Steps of the two starts; rank 0's weights at the first and at the second."""
    first = first_rank(*weights)
    return np.array([0, step]), *first, *(w + np.float32(1) for w in first)


def rates(base: float, size: int, steps: int, warm: int) -> np.ndarray:
    """Linear scaling with a gradual warm-up (Goyal et al. 2017)."""
    return base * (1 + (size - 1) * np.minimum(np.arange(steps) / warm, 1))


@functools.cache
def network() -> Any:
    """The lab's ResNet."""
    import keras

    layers = keras.layers

    def conv(x: Any, width: int, stride: int = 1, size: int = 3) -> Any:
        return layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)

    def norm(x: Any) -> Any:
        return layers.GroupNormalization(4)(x)

    inputs = keras.Input((28, 28, 1))
    x = layers.Activation("silu")(norm(conv(inputs, WIDTHS[0])))
    for width in WIDTHS:
        stride = 1 if width == WIDTHS[0] else 2
        y = layers.Activation("silu")(norm(conv(x, width, stride)))
        y = norm(conv(y, width))
        shortcut = x if stride == 1 else conv(x, width, 2, size=1)
        x = layers.Activation("silu")(layers.add([shortcut, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def backward(images: np.ndarray, labels: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Mean loss over these pictures, and its gradients."""
    import tensorflow as tf

    variables = network().trainable_variables
    for variable, weight in zip(variables, weights, strict=True):
        variable.assign(weight)
    with tf.GradientTape() as tape:
        logits = network()(images, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    return float(loss), [np.asarray(g) for g in tape.gradient(loss, [v.value for v in variables])]


def descend(weights: Sequence[np.ndarray], velocities: Sequence[np.ndarray], gradients: Sequence[np.ndarray],
            rate: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One step of gradient descent with momentum 0.9: new weights, new velocities."""
    velocities = [np.float32(0.9) * v + g for v, g in zip(velocities, gradients, strict=True)]
    return [w - np.float32(rate) * v for w, v in zip(weights, velocities, strict=True)], velocities


def one_process(images: np.ndarray, labels: np.ndarray, batch: int, epoch: int, seed: int, rate: float,
                *weights: PerRank) -> tuple[np.ndarray, ...]:
    """Training on one worker whose minibatch is as large as those of all workers together, from rank 0's weights."""
    big = batch * len(weights[0].values)
    now: list[np.ndarray] = list(first_rank(*weights))
    velocities = [np.zeros_like(w) for w in now]
    for rows in shard(len(images), 0, 1, big, epoch, seed):
        now, velocities = descend(now, velocities, backward(images[rows], labels[rows], now)[1], rate)
    return tuple(now)


# ------------------------------------------------------------------------------------------------------------ ceiling


def ceiling(images, labels, batch, epoch, seed, rate, *weights):
    """The same work without a word to the others: every copy is a world of its own.

    HPML_RANK and HPML_RANKS say which pictures are its own. The referee runs it behind the lab's own cells.
    """
    import os

    rank, size = int(os.environ["HPML_RANK"]), int(os.environ["HPML_RANKS"])
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), rank, size, batch, epoch, seed):
        _, gradients = backward(images[rows], labels[rows], weights)
        weights, velocities = descend(weights, velocities, gradients, rate)
    return tuple(weights)


# ----------------------------------------------------------------------------------------------------------- timeline

PARTS = ("MEMCPY_IN_FUSION_BUFFER", "GLOO_ALLREDUCE", "MEMCPY_OUT_FUSION_BUFFER")


def sample_timeline(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    """A file as Horovod writes it: a broadcast, then for each step one fused group of gradients and a lone loss."""
    rows: list[dict[str, Any]] = []
    names = ["weights", *(f"gradients_{i + 1}of{size['tensors']}" for i in range(size["tensors"])), "loss"]
    for pid, name in enumerate(names):
        rows.append({"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}})
    now = int(rng.integers(1000, 9000))

    def begin(name: str, pid: int) -> None:
        rows.append({"ph": "B", "name": name, "ts": now, "pid": pid})

    def end(pid: int, **more: Any) -> None:
        rows.append({"ph": "E", "ts": now, "pid": pid, **more})

    def part(name: str, pids: list[int], least: int, most: int) -> None:
        nonlocal now
        for pid in pids:
            begin(name, pid)
        now += int(rng.integers(least, most))
        for pid in pids:
            end(pid)

    def whole(kind: str, pids: list[int], parts: Sequence[str], wait: int) -> None:
        nonlocal now
        for pid in pids:                                    # tensors become ready one after the other
            begin("NEGOTIATE_" + kind, pid)
            rows.append({"ph": "X", "name": "0", "ts": now, "pid": pid, "dur": 0})
            now += int(rng.integers(50, 400))
        now += int(rng.integers(1, 1 + wait))
        for pid in pids:
            end(pid)
        for pid in pids:
            begin(kind, pid)
        for name in parts:
            part(name, pids, 20, 3000 if name.startswith("GLOO") else 200)
        for pid in pids:
            end(pid, args={"dtype": "float32", "shape": "[8]"})
        now += int(rng.integers(100, 5000))

    whole("BROADCAST", [0], ["GLOO_BCAST"], 20000)
    for _ in range(size["steps"]):
        whole("ALLREDUCE", list(range(1, len(names) - 1)), PARTS, 9000)
        whole("ALLREDUCE", [len(names) - 1], PARTS[1:2], 3000)
    return (json.dumps(rows),)


def spent(text: str) -> dict[str, list[float]]:
    """Milliseconds of every piece of a timeline, by its name."""
    found: dict[str, list[float]] = {}
    open_: dict[int, list[tuple[str, float]]] = {}
    for event in json.loads(text):
        if event["ph"] == "B":
            open_.setdefault(event["pid"], []).append((event["name"], event["ts"]))
        elif event["ph"] == "E":
            name, begin = open_[event["pid"]].pop()
            found.setdefault(name, []).append((event["ts"] - begin) / 1000)
    return found


def timeline(text: str, middle: Callable[[list[float]], Any] = np.median, kinds: Sequence[str] = ("ALLREDUCE",)) -> np.ndarray:
    """Median ms in negotiation, median ms in the allreduce, share of allreduces that went through the fusion buffer."""
    found = spent(text)
    waiting, moving = ([t for kind in kinds for t in found[prefix + kind]] for prefix in ("NEGOTIATE_", ""))
    return np.array([middle(waiting), middle(moving), len(found.get(PARTS[0], ())) / len(moving)])


def without_a_stack(text: str) -> np.ndarray:
    """What comes of it if an E is taken for the end of whatever began last but one does not go back to what was open before."""
    found: dict[str, list[float]] = {}
    last: dict[int, tuple[str, float]] = {}
    for event in json.loads(text):
        if event["ph"] == "B":
            last[event["pid"]] = event["name"], event["ts"]
        elif event["ph"] == "E" and event["pid"] in last:
            name, begin = last[event["pid"]]
            found.setdefault(name, []).append((event["ts"] - begin) / 1000)
    return np.array([np.median(found.get(name, [0.0])) for name in ("NEGOTIATE_ALLREDUCE", "ALLREDUCE")])


# -------------------------------------------------------------------------------------------- recognising wrong results


def like(got: Any, wanted: Any, tolerance: float = 1e-4) -> bool:
    """The same shape and, within `tolerance` of the largest value, the same numbers."""
    wanted = np.asarray(wanted)
    if not isinstance(got, np.ndarray) or got.shape != wanted.shape or got.dtype.kind not in "fiu":
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(got, wanted, rtol=0, atol=tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-30)))


def alike(got: Any, wanted: Sequence[Any], tolerance: float = 1e-4) -> bool:
    """Two tuples of arrays, one after the other."""
    return isinstance(got, tuple | list) and len(got) == len(wanted) and all(like(g, w, tolerance)
                                                                             for g, w in zip(got, wanted, strict=True))


def each(value: Any) -> list[Any]:
    """What came back, rank by rank; a value of one worker alone is a list of one."""
    return list(value.values) if isinstance(value, PerRank) else value if isinstance(value, list) else [value]


def wanted(case: Case) -> Any:
    """What every rank should return: in this lab all ranks the same."""
    return case.expected[0] if isinstance(case.expected, list) else case.expected


def right(case: Case) -> bool:
    return all(_same(g, wanted(case), 1e-5) for g in each(case.got))


def hint(when: Callable[[Case], bool], text: str) -> Hint:
    """A hint about wrong numbers: never asked where there is nothing to compare, or where the numbers are right."""
    return Hint(lambda case: case.expected is not None and case.got is not None and not right(case) and when(case), text)


def some(make: Callable[..., Any], tolerance: float = 1e-4) -> Callable[[Case], bool]:
    """Some rank gives what `make(*arguments)` says: an array, a tuple of arrays, or a PerRank of either."""
    def when(case: Case) -> bool:
        guess = make(*case.args)
        guesses = each(guess)
        got = each(case.got)
        if len(guesses) == len(got):
            return all(_same(g, w, tolerance) for g, w in zip(got, guesses, strict=True))
        return any(_same(g, w, tolerance) for g in got for w in guesses)
    return when


def _same(got: Any, wanted: Any, tolerance: float) -> bool:
    return alike(got, wanted, tolerance) if isinstance(wanted, tuple) else like(got, wanted, tolerance)


def own(*values: PerRank) -> PerRank:
    """Every rank's own arrays."""
    return PerRank(list(zip(*(v.values for v in values), strict=True)))


def scaled(factor: Callable[[int], float]) -> Callable[..., tuple[np.ndarray, ...]]:
    """The mean, times a factor of the number of ranks."""
    return lambda *g: tuple(np.float32(factor(len(g[0].values))) * m for m in mean_of_ranks(*g))


def order_with(*seed: Callable[[int, int, int], Any]) -> Callable[[Case], bool]:
    """A shard of an order drawn from another seed than [seed, epoch]."""
    def when(case: Case) -> bool:
        images, rank, size, batch, epoch, number = case.args
        steps = images // (size * batch)
        for make in seed:
            order = np.random.default_rng(make(number, epoch, rank)).permutation(images)[: steps * size * batch]
            if any(like(case.got, cut) for cut in (order.reshape(steps, size, batch)[:, rank],
                                                   order[rank::size].reshape(steps, batch),
                                                   order.reshape(size, steps, batch)[rank])):
                return True
        return False
    return when


def cut_otherwise(case: Case) -> bool:
    """Disjoint shards of the right order, but another minibatch in every step."""
    images, rank, size, batch, epoch, seed = case.args
    steps = images // (size * batch)
    order = np.random.default_rng([seed, epoch]).permutation(images)[: steps * size * batch]
    return any(like(case.got, cut) for cut in (order[rank::size].reshape(steps, batch), order.reshape(size, steps, batch)[rank]))


def steps_of(case: Case) -> int | None:
    return case.got.shape[0] if isinstance(case.got, np.ndarray) and case.got.ndim == 2 and case.got.shape[1] == case.args[3] else None


def everybody(case: Case) -> bool:
    """As many steps as one worker alone would make."""
    return case.args[2] > 1 and steps_of(case) == case.args[0] // case.args[3]


SHARD_HINTS = (
    hint(everybody, "Every worker reads every picture: N workers do the work of one, N times. A worker's share is one N-th of each "
                    "minibatch of the world."),
    hint(lambda c: steps_of(c) is not None and steps_of(c) != c.expected.shape[0],
         "The number of steps depends on the rank, or on a rest that does not fill a minibatch of all workers. The worker that makes a "
         "step more than the others waits in its allreduce for ever. Leave the rest out: the next epoch leaves out other pictures."),
    hint(lambda c: isinstance(c.got, np.ndarray) and c.got.ndim == 1,
         "Fold your picture numbers into minibatches: one row a step, `batch` of them in a row."),
    hint(order_with(lambda s, e, r: s, lambda s, e, r: [s, 0]),
         "This is the same order in every epoch. The epoch belongs into the seed, beside the common number."),
    hint(lambda c: like(np.sort(c.got, axis=None), np.arange(c.got.size)) or bool((np.diff(c.got.reshape(-1)) > 0).all()),
         "The pictures come in the order of the file. Draw a permutation first, the same on all workers."),
    hint(cut_otherwise, "Your shards are disjoint and complete, so nothing is lost. But cut the order into minibatches of the whole world "
                        "first, then each of those into one piece for each worker: only then is every step the step of one big worker."),
    hint(order_with(lambda s, e, r: [s, e, r], lambda s, e, r: [s, r], lambda s, e, r: s + r, lambda s, e, r: [s + r, e],
                    lambda s, e, r: [s, r, e], lambda s, e, r: r, lambda s, e, r: [r, e]),
         "Each rank shuffles in its own way, so two workers read some pictures twice and nobody reads others. All ranks need one common "
         "order, from a seed without the rank in it; the rank only says which piece is yours."),
    hint(lambda c: shape_of(c.got) == c.expected.shape and set(c.got.flat) != set(c.expected.flat),
         "Some of these pictures are another worker's. Does your order depend on the rank? Is the epoch in its seed, as in the text?"),
)

SAME_START_HINTS = (
    hint(some(own), "Every worker still has its own weights. Only the values of one of them may survive."),
    hint(some(mean_of_ranks), "This is the average of all starts. It is the same everywhere, which is good, but the mean of several random "
                              "networks has weights that are too small. Take those of rank 0 as they are."),
    hint(some(scaled(lambda n: n)), "This is the sum of all starts. Take the weights of rank 0 as they are."),
    hint(some(lambda *w: PerRank([tuple(a.values[-1] for a in w)])), "These are the weights of the last rank. By custom rank 0 begins."),
)

AVERAGE_HINTS = (
    hint(some(own), "Every worker keeps its own gradients. Then N networks drift apart, and none learns from more than its own share."),
    hint(some(scaled(lambda n: n)), "This is the sum over all workers. The gradient of a mean over N times as many pictures is the mean of "
                                    "the gradients; with the sum, your learning rate is secretly N times as large."),
    hint(some(scaled(lambda n: 1 / n)), "This is too small by the number of workers: the average is divided by N a second time."),
    hint(some(first_rank), "All workers have rank 0's gradients now. They agree, but what the others computed is thrown away."),
)

METRIC_HINTS = (
    hint(some(lambda v, n: PerRank(list(v.values))),
         "Each rank reports its own pictures only, so what rank 0 writes into the log is the accuracy on one N-th of the test set."),
    hint(some(lambda v, n: np.mean(v.values, axis=0, dtype=np.float32)),
         "A plain mean over workers: the worker with a handful of pictures counts as much as one with fifty. Weight every worker by the "
         "number of its pictures."),
    hint(some(lambda v, n: np.sum([a * m for a, m in zip(v.values, n.values, strict=True)], axis=0, dtype=np.float32)),
         "That is a sum over pictures. How many pictures are there in the whole world?"),
    hint(some(lambda v, n: np.sum([a * m for a, m in zip(v.values, n.values, strict=True)], axis=0) / len(n.values) / n.values[0], 1e-3),
         "You divide by the number of pictures of one worker, times N. Not every worker has as many: the count has to be summed, too."),
    hint(some(lambda v, n: np.sum(v.values, axis=0, dtype=np.float32)), "That is a sum over workers: an accuracy may not be above 1."),
)


def checkpoint_part(case: Case) -> list[tuple[Any, list[Any], list[Any]]]:
    """(steps, first weights, second weights) of each rank that answered with arrays."""
    found = []
    for got in each(case.got):
        if isinstance(got, tuple | list) and len(got) == len(wanted(case)):
            half = (len(got) - 1) // 2
            found.append((got[0], list(got[1: 1 + half]), list(got[1 + half:])))
    return found


def lives(test: Callable[[Any, list[Any], list[Any], Case], bool]) -> Callable[[Case], bool]:
    return lambda case: any(test(*found, case) for found in checkpoint_part(case))


def _halves(case: Case) -> tuple[Sequence[Any], Sequence[Any]]:
    half = (len(wanted(case)) - 1) // 2
    return wanted(case)[1: 1 + half], wanted(case)[1 + half:]


CHECKPOINT_HINTS = (
    hint(lives(lambda s, a, b, c: alike(a, _halves(c)[0]) and alike(b, _halves(c)[1]) and not like(s, wanted(c)[0])),
         "The weights are right and the step is not: a worker that counts from another step ends its loop at another time than the rest, "
         "which then waits for it. Everything that steers the loop has to come from rank 0."),
    hint(lives(lambda s, a, b, c: not alike(a, _halves(c)[0])),
         "Already the first start, without a file, is wrong: it too has to leave every worker with rank 0's weights, at step 0."),
    hint(lives(lambda s, a, b, c: not alike(b, _halves(c)[1])),
         "After the second start a worker does not have what was saved. Only rank 0 can read the file; how do the others get it?"),
)

RATE_HINTS = (
    hint(lambda c: like(c.got, np.full(c.args[2], c.args[0])), "The rate is that of one worker. The minibatch is now N times as large, so "
                                                               "each step may go N times as far: scale the rate in proportion."),
    hint(lambda c: like(c.got, np.full(c.args[2], c.args[0] * c.args[1])),
         "Scaled, but at once: in the first steps the weights change fastest, and the large rate throws them off. Warm up."),
    hint(lambda c: like(c.got, c.args[0] * c.args[1] * np.minimum(np.arange(c.args[2]) / c.args[3], 1)),
         "Your ramp begins at zero, where nothing is learned. It begins at the rate of one worker."),
    hint(lambda c: like(c.got, c.args[0] * (1 + (c.args[1] - 1) * np.minimum((np.arange(c.args[2]) + 1) / c.args[3], 1))),
         "One step early: step 0 still has the rate of one worker, and step `warm` is the first with the full one."),
    hint(lambda c: like(c.got, c.args[0] * c.args[1] ** np.minimum(np.arange(c.args[2]) / c.args[3], 1)),
         "Your ramp multiplies. The one of the text adds the same amount in every step."),
    hint(lambda c: like(c.got, c.args[0] * (1 + (c.args[1] ** 0.5 - 1) * np.minimum(np.arange(c.args[2]) / c.args[3], 1))),
         "You scale with the square root of N. There are such rules too; the linear one scales with N."),
)


def trained(**change: Any) -> Callable[..., Any]:
    """What other trainings give: `combine` of the gradients of all ranks, `start` of each, `rows` that each reads, `skip` some steps."""
    combine = change.get("combine", lambda found, rank: [np.mean(g, axis=0, dtype=np.float32) for g in zip(*found, strict=True)])
    rows = change.get("rows", shard)
    start = change.get("start", lambda weights, rank: [w.values[0] for w in weights])

    def make(images: np.ndarray, labels: np.ndarray, batch: int, epoch: int, seed: int, rate: float, *weights: PerRank) -> Any:
        size = len(weights[0].values)
        now = [start(weights, rank) for rank in range(size)]
        speed = [[np.zeros_like(w) for w in one] for one in now]
        orders = [rows(len(images), rank, size, batch, epoch, seed) for rank in range(size)]
        for step in range(min(len(order) for order in orders)):
            found = [backward(images[orders[r][step]], labels[orders[r][step]], now[r])[1] for r in range(size)]
            for r in range(size):
                mean = combine(found, r) if not change.get("skip", lambda step: False)(step) else found[r]
                now[r], speed[r] = descend(now[r], speed[r], mean, rate)
        return PerRank([tuple(one) for one in now])
    return make


def whole_set(images: int, rank: int, size: int, batch: int, epoch: int, seed: int) -> np.ndarray:
    """Every worker's own share of a world of one."""
    return shard(images, 0, 1, batch, epoch, seed)


def summed(found: list[list[np.ndarray]], rank: int) -> list[np.ndarray]:
    return [np.sum(g, axis=0, dtype=np.float32) for g in zip(*found, strict=True)]


def apart(case: Case) -> bool:
    """The ranks end with different weights."""
    got = each(case.got)
    return len(got) > 1 and all(isinstance(g, tuple | list) for g in got) and not all(alike(g, got[0], 1e-6) for g in got[1:])


def averaged_once(*args: Any) -> tuple[np.ndarray, ...]:
    """Workers that train alone, and the mean of their weights at the end."""
    alone = trained(combine=lambda found, rank: found[rank])(*args)
    return tuple(np.mean(w, axis=0, dtype=np.float32) for w in zip(*alone.values, strict=True))


TRAIN_HINTS = (
    hint(some(trained(combine=summed), 1e-3),
         "The gradients are summed, not averaged: every step goes N times as far as that of one worker with the big minibatch."),
    hint(some(trained(combine=lambda found, rank: found[rank]), 1e-3),
         "Every worker descends along its own gradients. Nothing of what the others saw reaches it."),
    hint(some(trained(start=lambda weights, rank: [w.values[rank] for w in weights]), 1e-3),
         "The gradients are averaged, but the workers began with different weights, and that difference never goes away: the average is "
         "the gradient of no network at all. Who gives everybody the same start?"),
    hint(some(trained(rows=whole_set), 1e-3),
         "All workers read the same pictures, the first of the epoch. N equal gradients have that same gradient as their mean: nothing is "
         "gained."),
    hint(some(trained(skip=lambda step: step % 2 == 1), 1e-3),
         "Some steps go without the others. Averaging every second gradient saves time, and is another algorithm: weights drift apart in "
         "between, and the average later does not bring them back."),
    hint(some(lambda *a: one_process(*a[:3], 0, *a[4:]), 1e-3), "Your pictures are those of epoch 0, whatever epoch it is."),
    hint(some(averaged_once, 1e-3),
         "Every worker trains alone, and the weights are averaged once, at the end. That is an algorithm too (local SGD), but not the one "
         "of a big worker: average the gradients, in every step."),
    hint(apart, "The workers end with different weights. After every step all of them must be the same, to the last bit. Is there a step "
                "without averaging? Did all begin with the same weights?"),
    hint(lambda c: not apart(c), "All workers agree, so they do talk to each other, but one big worker ends elsewhere. Compare, in this "
                                 "order: the start, the pictures of each step, the average, the order of averaging and momentum."),
)

TIMELINE_HINTS = (
    hint(lambda c: shape_of(c.got) == (3,) and like(c.got[:2], c.expected[:2] * 1000), "Times in the file are microseconds."),
    hint(lambda c: shape_of(c.got) == (3,) and like(c.got[:2], timeline(*c.args, middle=np.mean)[:2]),
         "That is the mean. The first allreduces of a run wait while somebody still compiles, so take the median."),
    hint(lambda c: shape_of(c.got) == (3,) and like(c.got[:2], without_a_stack(*c.args), 1e-3),
         "ALLREDUCE holds smaller pieces. An E belongs to the piece that began last on its row and is still open: keep what is open in a "
         "list, and take from its end."),
    hint(lambda c: shape_of(c.got) == (3,) and like(c.got[:2], timeline(c.args[0], kinds=("ALLREDUCE", "BROADCAST"))[:2]),
         "The broadcast at the start is in your medians. Only allreduces count."),
    hint(lambda c: shape_of(c.got) == (3,) and like(c.got[:2], c.expected[:2]) and c.got[2] > 1,
         "The last number is a share: how many of all allreduces went through the fusion buffer?"),
    hint(lambda c: shape_of(c.got) == (3,) and like(c.got[:2], c.expected[:2]),
         "Both times are right. An allreduce went through the fusion buffer if it holds a piece MEMCPY_IN_FUSION_BUFFER."),
    hint(lambda c: shape_of(c.got) == (3,), "Every tensor has a row of its own, `pid`: events of different rows are woven together in the "
                                            "file. Are your open pieces kept apart by row?"),
)


def shape_of(value: Any) -> tuple[int, ...] | None:
    return value.shape if isinstance(value, np.ndarray) else None


# ----------------------------------------------------------------------------------------------------------- pictures

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#e69f00", "#009e73", "#9aa0a6"


def _image(axis: Any, values: Any, title: str, like: np.ndarray) -> None:
    """A small matrix as a picture in the colours of `like`; a few words where there is none."""
    axis.set_title(title, fontsize=10)
    axis.set_xticks([]), axis.set_yticks([])
    if not isinstance(values, np.ndarray) or values.shape != like.shape:
        words = "nothing came\nback yet" if values is None else f"shape {values.shape}" if isinstance(values, np.ndarray) else "no array"
        axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=9, transform=axis.transAxes)
        axis.set_box_aspect(like.shape[0] / like.shape[1])
        return
    axis.imshow(values, cmap="cividis", vmin=float(like.min()), vmax=float(like.max()))


def part(value: Any, index: int) -> Any:
    """Element `index` of a tuple that came back, or None."""
    return value[index] if isinstance(value, tuple | list) and len(value) > index else None


def draw_shard(case: Case) -> Figure:
    """Every minibatch of the world in one row: what this worker should read is framed, what yours reads is filled."""
    from matplotlib.patches import Rectangle

    images, rank, size, batch, epoch, seed = case.args
    steps = len(case.expected)
    order = np.random.default_rng([seed, epoch]).permutation(images)
    got = set(case.got.flat) if isinstance(case.got, np.ndarray) else set()
    figure = Figure(figsize=(7, 0.9 + 0.42 * (steps + 1)), layout="constrained")
    axis = figure.subplots()
    for n, picture in enumerate(order):
        step, column = divmod(n, size * batch)
        axis.add_patch(Rectangle((column, step), 1, 1, facecolor="#56b4e9" if picture in got else "#eef2f6", edgecolor="white"))
        axis.text(column + 0.5, step + 0.5, str(picture), ha="center", va="center", fontsize=8, color="#101010")
    for step in range(steps):
        axis.add_patch(Rectangle((rank * batch, step), batch, 1, fill=False, edgecolor="#d55e00", linewidth=2.5))
    axis.set(xlim=(-0.1, size * batch + 0.1), ylim=(max(steps, -(-images // (size * batch))) + 0.1, -0.1), xticks=[],
             yticks=np.arange(steps) + 0.5)
    axis.set_yticklabels([f"step {n}" for n in range(steps)], fontsize=9)
    axis.set_title(f"Epoch {epoch} of {size} workers: framed, what rank {rank} should read; blue, what yours reads", fontsize=10)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    return figure


def draw_arrays(case: Case) -> Figure:
    """The last array: what each rank brings, what each should leave with, and what yours leave with."""
    index = len(wanted(case)) - 1
    brought, got = case.args[-1].values, each(case.got)
    goal = wanted(case)[index]
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    axes = figure.subplots(2, len(brought) + 1)
    scale = np.stack([*brought, goal])
    for rank, values in enumerate(brought):
        _image(axes[0, rank], values, f"rank {rank} brings", np.clip(values, scale.min(), scale.max()))
        _image(axes[1, rank], part(got[rank], index) if rank < len(got) else None, f"rank {rank} leaves", goal)
    _image(axes[0, -1], goal, "all should leave", goal)
    axes[1, -1].set_axis_off()
    return figure


def draw_metrics(case: Case) -> Figure:
    """Accuracy of every worker, as wide as it has pictures; the mean over pictures, and yours."""
    values, counts = case.args
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axis = figure.subplots()
    left = 0
    for rank, (value, count) in enumerate(zip(values.values, counts.values, strict=True)):
        axis.bar(left, value[1], count, align="edge", color=(BLUE, ORANGE, GREEN)[rank % 3], alpha=0.75, edgecolor="white")
        axis.text(left + count / 2, 0.02, f"rank {rank}\n{count} pictures" if count > 15 else f"{count}", ha="center", fontsize=9)
        left += count
    axis.axhline(wanted(case)[1], color="black", linewidth=2, label="mean over all pictures")
    for rank, got in enumerate(each(case.got)):
        if isinstance(got, np.ndarray) and got.shape == wanted(case).shape:
            axis.plot([left * (0.3 + 0.2 * rank)], [got[1]], "o", color="#d55e00", markeredgecolor="white", markersize=9,
                      label="yours" if rank == 0 else None)
    axis.set(xlim=(0, left), xlabel="pictures, worker beside worker", ylabel="accuracy")
    axis.legend(fontsize=9, loc="upper right", frameon=True)
    return figure


def draw_checkpoint(case: Case) -> Figure:
    """The last array at the first and at the second start: as it should be, and on every rank."""
    half = (len(wanted(case)) - 1) // 2
    got = each(case.got)
    number = len(case.args[-1].values)
    figure = Figure(figsize=(7, 3.1), layout="constrained")
    axes = figure.subplots(2, number + 1)
    for row, (word, index) in enumerate((("first start", half), ("second start", 2 * half))):
        goal = wanted(case)[index]
        _image(axes[row, 0], goal, f"{word}: step {wanted(case)[0][row]}", goal)
        for rank in range(number):
            mine = got[rank] if rank < len(got) else None
            steps = part(mine, 0)
            said = f", step {steps[row]}" if isinstance(steps, np.ndarray) and steps.shape == (2,) else ""
            _image(axes[row, rank + 1], part(mine, index), f"rank {rank}{said}", goal)
    return figure


def draw_rates(case: Case) -> Figure:
    """The learning rate of each step, expected and yours."""
    base, size, steps, _ = case.args
    figure = Figure(figsize=(7, 2.5), layout="constrained")
    axis = figure.subplots()
    axis.plot(case.expected, color=GREY, linewidth=5, label="expected")
    if isinstance(case.got, np.ndarray) and case.got.shape == case.expected.shape:
        axis.plot(case.got, "o-", color="#d55e00", markersize=4, linewidth=1.2, label="yours")
    axis.axhline(base, linestyle=":", color="black", linewidth=1)
    axis.annotate(f"one worker: {base:g}", (steps - 1, base), ha="right", va="bottom", fontsize=9)
    axis.set(xlabel="step", ylabel="learning rate", ylim=(0, 1.25 * base * size))
    axis.set_title(f"{size} workers", fontsize=10)
    axis.legend(fontsize=9, loc="upper left")
    return figure


def draw_train(case: Case) -> Figure:
    """For each array of weights: how far one big worker moves it, and how far away from there every rank of yours ends."""
    start, goal, got = [w.values[0] for w in case.args[6:]], wanted(case), each(case.got)
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axis = figure.subplots()
    moved = [float(np.linalg.norm(w - s)) for w, s in zip(goal, start, strict=True)]
    axis.bar(range(len(moved)), moved, color="#c9ced4", label="one big worker moves it by")
    for rank, mine in enumerate(got):
        if isinstance(mine, tuple | list) and len(mine) == len(goal):
            off = [float(np.linalg.norm(g - w)) if isinstance(g, np.ndarray) and g.shape == w.shape else np.nan
                   for g, w in zip(mine, goal, strict=True)]
            axis.plot(np.arange(len(off)) + 0.25 * rank - 0.12, np.maximum(off, 1e-9), "os^"[rank % 3], markersize=6,
                      color=(BLUE, "#d55e00", GREEN)[rank % 3], markeredgecolor="white", label=f"rank {rank} of yours misses by")
    axis.set_yscale("log")
    axis.set(ylim=(1e-9, 300 * max(moved)), xlabel="arrays of the network, from the first to the last layer", ylabel="distance")
    axis.legend(fontsize=8, loc="upper left", ncols=3, columnspacing=1, handletextpad=0.3)
    return figure


def draw_timeline(case: Case) -> Figure:
    """The file as a picture: a row for each tensor, and what became of it when."""
    colours = {"NEGOTIATE": "#cfd4da", "ALLREDUCE": "#56b4e9", "BROADCAST": "#009e73", "GLOO": "#0072b2", "MEMCPY": "#e69f00"}
    events, names = json.loads(case.args[0]), {}
    open_: dict[int, list[tuple[str, float]]] = {}
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    axis = figure.subplots()
    for event in events:
        if event["ph"] == "M":
            names[event["pid"]] = event["args"].get("name", "")
        elif event["ph"] == "B":
            open_.setdefault(event["pid"], []).append((event["name"], event["ts"]))
        elif event["ph"] == "E":
            name, begin = open_[event["pid"]].pop()
            colour = next(c for key, c in colours.items() if name.startswith(key))
            deep = len(open_[event["pid"]])
            width, height = (event["ts"] - begin) / 1000, 0.8 - 0.35 * deep
            axis.barh(event["pid"], width, left=begin / 1000, height=height, color=colour, zorder=2 + deep)
    axis.set_yticks(list(names), list(names.values()), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("milliseconds")
    for key, words in (("NEGOTIATE", "negotiate"), ("ALLREDUCE", "allreduce"), ("MEMCPY", "copy to and from the fusion buffer"),
                       ("GLOO", "on the wire"), ("BROADCAST", "broadcast")):
        axis.barh([0], [0], color=colours[key], label=words)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, columnspacing=1, handlelength=1.2)
    wait, move, share = case.expected
    said = f"expected: {wait:.2f} ms negotiating, {move:.2f} ms in allreduce, {share:.0%} fused"
    if shape_of(case.got) == (3,):
        said += f"; yours: {case.got[0]:.2f}, {case.got[1]:.2f}, {case.got[2]:.0%}"
    axis.set_title(said, fontsize=9)
    return figure


# -------------------------------------------------------------------------------------------------------- predictions


def _measured(verdicts: Any, target: str) -> Any:
    verdict = verdicts.get("train")
    return next((m for m in verdict.measured if m.target == target), None) if verdict is not None else None


def efficiency(verdicts: Any) -> float | None:
    """Per cent of the ceiling that the reader's `train` reached."""
    measured = _measured(verdicts, "efficiency")
    return None if measured is None else 100 * measured.ratio


NUMBERS = sum(int(np.prod(shape)) for shape in shapes())
BYTES = 4 * NUMBERS                             # the gradients of one step, float32


def ring_bytes(number: int) -> float:
    """Bytes that each of `number` ranks sends in a ring allreduce of all gradients: 2(N-1)/N of them."""
    return 2 * (number - 1) / number * BYTES


def bytes_of_call(size: Size) -> float:
    """Bytes on the loopback for one call of `train`: the start, from rank 0 to the others, and one ring a step."""
    number = size["ranks"]
    return (number - 1) * BYTES + number * size["steps"] * ring_bytes(number)


def budget(size: Size) -> dict[str, float]:
    """Half as much again as the ring needs, and 3 MB: Horovod's threads talk every millisecond, also while a slow machine computes."""
    return {"loopback_bytes": 1.5 * bytes_of_call(size) + 3e6}


def counted_kilobytes(verdicts: Any) -> float | None:
    """kB that each worker sent in one step, counted by the kernel on the jail's loopback; by the formula where nothing is counted.

    Of the last public size, whose call traces nothing any more: it is over before Horovod's own talk adds up.
    """
    verdict = verdicts.get("train")
    counted = verdict.counters.get("loopback_bytes") if verdict is not None else None
    if not counted:
        return ring_bytes(2) / 1000
    size = TRAINED[-1]
    return (counted - (size["ranks"] - 1) * BYTES) / size["steps"] / size["ranks"] / 1000


# ------------------------------------------------------------------------------------------------------- declarations

SHARDS = ({"workers": 2, "rank": 1, "batch": 3, "steps": 3, "rest": 4, "epoch": 1},
          {"workers": 3, "rank": 0, "batch": 4, "steps": 5, "rest": 7, "epoch": 2})
MORE_SHARDS = ({"workers": 4, "rank": 3, "batch": 8, "steps": 11, "rest": 9, "epoch": 5},
               {"workers": 1, "rank": 0, "batch": 5, "steps": 4, "rest": 3, "epoch": 3})
TWO, THREE = ({"ranks": 2},), ({"ranks": 3},)
TRAINED = ({"ranks": 2, "batch": 8, "steps": 3, "rest": 5}, {"ranks": 2, "batch": 8, "steps": 12, "rest": 1})
RAMPS = ({"workers": 4, "steps": 40, "warm": 20}, {"workers": 2, "steps": 12, "warm": 5})
MORE_RAMPS = ({"workers": 32, "steps": 60, "warm": 7}, {"workers": 1, "steps": 9, "warm": 3})

EXERCISES: dict[str, Exercise | Prediction] = {
    "shard": Exercise(sample=sample_shard, oracle=shard, sizes=SHARDS, hidden=MORE_SHARDS, draw=draw_shard, hints=SHARD_HINTS),
    "same_start": Exercise(
        sample=sample_weights, oracle=first_rank, sizes=TWO, hidden=THREE, world="horovod", preload=FRAMEWORK, uses=("horovod",),
        draw=draw_arrays, hints=SAME_START_HINTS, seconds=20),
    "average_gradients": Exercise(
        sample=sample_weights, oracle=mean_of_ranks, sizes=TWO, hidden=THREE, world="horovod", preload=FRAMEWORK, uses=("horovod",),
        draw=draw_arrays, hints=AVERAGE_HINTS, seconds=20),
    "bytes_per_step": Prediction(
        truth=counted_kilobytes, unit="kB", uses=("train",),
        explain=lambda guess, truth: f"The ring asks every worker to send 2(N-1)/N of the gradients' bytes: for N = 2 all of them once, "
                                     f"{NUMBERS:,} numbers of 4 bytes, {ring_bytes(2) / 1000:.0f} kB. The kernel also counts headers, and "
                                     "the few bytes of every negotiation."),
    "efficiency": Prediction(
        truth=efficiency, unit="%", uses=("train",),
        explain=lambda guess, truth: f"The other {max(0.0, 100 - truth):.0f} % of the time no picture is worked on: a worker waits for the "
                                     "slower one, the two agree on what to average, and then the gradients travel."),
    "train": Exercise(
        sample=sample_train, oracle=one_process, world="horovod", preload=FRAMEWORK,
        sizes=TRAINED, hidden=({"ranks": 3, "batch": 4, "steps": 3, "rest": 7},),
        uses=("horovod", "network", "shard", "same_start", "average_gradients"), tolerance={"float32": 1e-4},
        draw=draw_train, hints=TRAIN_HINTS, baselines={"ceiling": ceiling}, counters=budget, seconds=40),
    "average_metrics": Exercise(
        sample=sample_metrics, oracle=mean_of_pictures, sizes=TWO, hidden=THREE, world="horovod", preload=FRAMEWORK, uses=("horovod",),
        draw=draw_metrics, hints=METRIC_HINTS, seconds=20),
    "learning_rates": Exercise(
        sample=sample_rates, oracle=rates, sizes=RAMPS, hidden=MORE_RAMPS, draw=draw_rates, hints=RATE_HINTS),
    "checkpoint": Exercise(
        sample=sample_checkpoint, oracle=two_lives, sizes=TWO, hidden=THREE, world="horovod", preload=FRAMEWORK,
        uses=("horovod", "two_lives"), draw=draw_checkpoint, hints=CHECKPOINT_HINTS, seconds=20),
    "read_timeline": Exercise(
        sample=sample_timeline, oracle=timeline, sizes=({"steps": 2, "tensors": 4}, {"steps": 1, "tensors": 1}),
        hidden=({"steps": 4, "tensors": 9},), draw=draw_timeline, hints=TIMELINE_HINTS),
}
