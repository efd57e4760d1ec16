"""The distributed optimizer on 1, 2 and 4 real ranks: seeded differently, then equal to one process on the whole batch, after every step.

The ranks of one size run all scenarios one after the other, in one world; the tests look at what they brought back. Nothing here runs
an operation in this process: it, or its parent of warm ranks, is forked.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpml.distributed import run_ranks
from hpml.distributed.ranks import LaunchError

SIZES = 1, 2, 4
BATCH, STEPS = 24, 4                        # the whole batch, for all ranks together


# ---- on the ranks ----

def dense() -> Any:
    import keras
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)])


def frozen_and_tied() -> Any:
    """One layer is used twice, one is not trained."""
    import keras
    frozen, tied = keras.layers.Dense(6, trainable=False), keras.layers.Dense(6, activation="tanh")
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3)(tied(frozen(tied(inputs)))))


def embedding() -> Any:
    """Some tokens come in the batches of several ranks, and several times in one; most come in none."""
    import keras
    return keras.Sequential([keras.Input((6,), dtype="int32"), keras.layers.Embedding(50, 4), keras.layers.Flatten(),
                             keras.layers.Dense(3)])


def batches(model: Any, seed: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    integer = model.inputs[0].dtype == "int32"
    draw = (lambda: rng.integers(0, 9, (BATCH, 6), dtype=np.int32)) if integer else (lambda: rng.normal(size=(BATCH, 6)).astype("f4"))
    return [(draw(), rng.normal(size=(BATCH, 3)).astype("f4")) for _ in range(STEPS)]


def trajectory(make_model: Any, make_optimizer: Any, passes: int = 1, reference: Any = None, by_keras: bool = False,
               **how: Any) -> dict[str, Any]:
    """Weights after every step on this rank's part of each batch; on rank 0 also those of one process on the whole batches.

    `by_keras`: the optimizer that is made accumulates the passes itself.
    """
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer, broadcast_variables
    rank, size = hvd.rank(), hvd.size()
    keras.utils.set_random_seed(100 + rank)
    model = make_model()
    how["backward_passes_per_step"] = 1 if by_keras else passes
    model.compile(optimizer=DistributedOptimizer(make_optimizer(), **how), loss="mse")
    model.optimizer.build(model.trainable_variables)
    before = model.get_weights()
    broadcast_variables([*model.weights, *model.optimizer.variables])
    alone = None
    if rank == 0:
        alone = make_model()
        alone.set_weights(model.get_weights())
        alone.compile(optimizer=(reference or make_optimizer)(), loss="mse")
    mine, whole, iterations = [], [], []
    for x, y in batches(model):
        parts = [(a, b) for a, b in zip(np.split(x[rank::size], passes), np.split(y[rank::size], passes), strict=True)]
        for part in parts:
            standing = model.get_weights()
            iterations.append(int(model.optimizer.iterations))
            model.train_on_batch(*part)
            if part is not parts[-1]:
                assert all(np.array_equal(a, b) for a, b in zip(standing, model.get_weights(), strict=True)), "moved between steps"
        mine.append(model.get_weights())
        if alone is not None:
            alone.train_on_batch(x, y)
            whole.append(alone.get_weights())
    return {"before": before, "mine": mine, "whole": whole, "iterations": iterations}


def scenarios(names: list[str]) -> dict[str, Any]:
    """What is compared with one process, by name."""
    from functools import partial

    import horovod.tensorflow as hvd
    from keras.optimizers import SGD, Adam, AdamW
    hvd.init()
    size = hvd.size()
    sgd, momentum, adam, many = partial(SGD, 0.1), partial(SGD, 0.1, momentum=0.9), partial(Adam, 0.01), partial(SGD, 0.1 * size)
    averaging = partial(AdamW, 0.01, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2)
    ways = {
        "sgd": partial(trajectory, dense, sgd),
        "momentum": partial(trajectory, dense, momentum),
        "adam, frozen and tied": partial(trajectory, frozen_and_tied, adam),
        "adam, tensor by tensor": partial(trajectory, dense, adam, fused=False),
        "decay and moving average": partial(trajectory, dense, averaging),
        "clipnorm": partial(trajectory, dense, partial(SGD, 0.1, clipnorm=0.05)),
        "global_clipnorm": partial(trajectory, dense, partial(momentum, global_clipnorm=0.05)),
        "clipvalue": partial(trajectory, dense, partial(SGD, 0.1, clipvalue=0.01)),
        "loss scale factor": partial(trajectory, dense, partial(momentum, loss_scale_factor=1024.0)),
        "sum": partial(trajectory, dense, sgd, op="sum", reference=many),
        "fp16": partial(trajectory, dense, momentum, compression="fp16"),
        "sparse momentum": partial(trajectory, embedding, momentum),        # Adam and clipping hardly see a factor
        "sparse adam": partial(trajectory, embedding, adam),
        "sparse sum": partial(trajectory, embedding, sgd, op="sum", reference=many),
        "sparse, tensor by tensor, clipped": partial(trajectory, embedding, partial(momentum, clipnorm=0.05), fused=False),
        "sparse as dense": partial(trajectory, embedding, momentum, sparse_as_dense=True),
        "3 passes": partial(trajectory, dense, partial(Adam, 0.01, global_clipnorm=0.05), passes=3),
        "3 passes by Keras": partial(trajectory, dense, partial(adam, gradient_accumulation_steps=3), passes=3, by_keras=True,
                                     reference=adam),
        "2 passes, sparse, added": partial(trajectory, embedding, sgd, passes=2, average_aggregated_gradients=False,
                                           reference=partial(SGD, 0.2)),
    }
    return {name: ways[name]() for name in names}


def operations() -> dict[str, Any]:
    """Which of Horovod's operations are in the graph of one update; "what" on the wire."""
    import collections

    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    from hpml.distributed import DistributedOptimizer
    hvd.init()

    def ops(model: Any, **how: Any) -> dict[str, int]:
        optimizer = DistributedOptimizer(keras.optimizers.SGD(), **how)
        optimizer.build(model.trainable_variables)
        x, y = batches(model)[0]

        @tf.function
        def step() -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - y) ** 2)
            optimizer.apply(tape.gradient(loss, model.trainable_variables))

        found = collections.Counter()
        graph = step.get_concrete_function().graph
        for inner in [graph, *(getattr(f, "graph", f) for f in graph._functions.values())]:
            ours = [op for op in inner.get_operations() if "Horovod" in op.type]
            found.update((op.type.removeprefix("Horovod"), op.inputs[0].dtype.name) for op in ours)
        return {f"{kind} {dtype}": n for (kind, dtype), n in sorted(found.items())}

    return {"fused": ops(dense()), "not fused": ops(dense(), fused=False), "fp16": ops(dense(), compression="fp16"),
            "sparse": ops(embedding()), "sparse fp16": ops(embedding(), compression="fp16"),
            "sparse as dense": ops(embedding(), sparse_as_dense=True),
            "half": ops(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, dtype="bfloat16")]))}


def loops() -> dict[str, Any]:
    """The same four steps by fit, by a traced loop with `apply`, and by an eager one with `apply_gradients` on TensorFlow variables."""
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    from hpml.distributed import DistributedOptimizer
    hvd.init()
    rank, size = hvd.rank(), hvd.size()

    def start() -> tuple[Any, Any]:
        keras.utils.set_random_seed(5)
        model = dense()
        return model, DistributedOptimizer(keras.optimizers.Adam(0.01), backward_passes_per_step=2)

    data = [(x[rank::size], y[rank::size]) for x, y in batches(dense())]
    fitted, optimizer = start()
    fitted.compile(optimizer=optimizer, loss="mse")
    x, y = (np.concatenate(parts) for parts in zip(*data, strict=True))
    fitted.fit(x, y, batch_size=BATCH // size, shuffle=False, verbose=0)

    def gradients(model: Any, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    several, optimizer = start()
    several.compile(optimizer=optimizer, loss="mse", steps_per_execution=2)
    several.fit(x, y, batch_size=BATCH // size, shuffle=False, verbose=0)
    traced, applied = start()

    @tf.function
    def step(x: Any, y: Any) -> None:
        applied.apply(gradients(traced, x, y), traced.trainable_variables)

    eager, optimizer = start()
    for x, y in data:
        step(tf.constant(x), tf.constant(y))
        optimizer.apply_gradients(zip(gradients(eager, x, y), eager.trainable_variables, strict=True))
    return {"fit": fitted.get_weights(), "several": several.get_weights(), "traced": traced.get_weights(), "eager": eager.get_weights(),
            "iterations": [int(o.iterations) for o in (fitted.optimizer, applied, optimizer)]}


def unlike() -> dict[str, Any]:
    """Rank 0 has made more models before, so that names count on; then two optimizers of one kind work in one traced step."""
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    from hpml.distributed import DistributedOptimizer, broadcast_variables
    hvd.init()
    rank = hvd.rank()
    if rank == 0:
        earlier = dense()
        earlier.compile(optimizer=DistributedOptimizer(keras.optimizers.Adam()), loss="mse")
        earlier.optimizer.build(earlier.trainable_variables)
    models = [dense(), embedding()]
    optimizers = [DistributedOptimizer(keras.optimizers.Adam(0.1), fused=False, backward_passes_per_step=passes) for passes in (1, 2)]
    for model, optimizer in zip(models, optimizers, strict=True):
        optimizer.build(model.trainable_variables)
        broadcast_variables([*model.weights, *optimizer.variables])
    (x, y), (tokens, _) = batches(models[0], rank)[0], batches(models[1], rank)[0]

    @tf.function
    def step() -> None:
        with tf.GradientTape(persistent=True) as tape:
            losses = [tf.reduce_mean((model(i) - y) ** 2) for model, i in zip(models, (x, tokens), strict=True)]
        for loss, model, optimizer in zip(losses, models, optimizers, strict=True):
            optimizer.apply(tape.gradient(loss, model.trainable_variables))

    before = [w for model in models for w in model.get_weights()]
    for _ in range(4):
        step()
    return {"before": before, "after": [w for model in models for w in model.get_weights()],
            "names": [v.path for v in models[0].weights], "steps": [int(o.iterations) for o in optimizers]}


def some_gradients() -> dict[str, Any]:
    """One variable has no gradient; it stays, and the others' are in their places."""
    import warnings

    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer
    hvd.init()
    moved = {}
    for passes in (1, 2):
        v = [keras.Variable([0.0]), keras.Variable([0.0, 0.0]), keras.Variable([0.0])]
        optimizer = DistributedOptimizer(keras.optimizers.SGD(1.0), backward_passes_per_step=passes)
        optimizer.build(v)
        mine = float(hvd.rank())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                 # Keras says that there is none
            for _ in range(passes):
                optimizer.apply([keras.ops.convert_to_tensor([g]) if g is not None else None for g in (1 + mine, None, 3 + mine)], v)
        for _ in range(passes):
            optimizer.apply([keras.ops.convert_to_tensor([mine])], v[:1])
        moved[passes] = [list(x.numpy()) for x in v]
    return moved


def infinities() -> dict[str, Any]:
    """One rank's gradient is infinite once: with loss scaling, with loss scaling and passes, and with passes alone."""
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer
    hvd.init()

    def run(optimizer: Any, gradients: list[float]) -> list[list[float]]:
        v = keras.Variable([1.0])
        optimizer.build([v])
        seen = []
        for g in gradients:
            bad = hvd.rank() == hvd.size() - 1 or np.isfinite(g)
            optimizer.apply([keras.ops.convert_to_tensor([g if bad else 1.0])])
            seen.append([float(v.value[0]), float(optimizer.iterations), float(getattr(optimizer, "dynamic_scale", 0.0))])
        return seen

    def scaled(**how: Any) -> Any:
        return DistributedOptimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=4.0), **how)

    inf, nan = float("inf"), float("nan")
    mixed = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    keras.config.set_dtype_policy("mixed_float16")
    half = dense()
    keras.config.set_dtype_policy("float32")
    half.compile(optimizer=scaled(), loss="mse")
    x, y = batches(mixed)[0]
    half.train_on_batch(x, y)
    clipped = DistributedOptimizer(keras.optimizers.SGD(1.0, clipvalue=8.0), backward_passes_per_step=2)
    return {"scaled": run(scaled(), [4.0, inf, 2.0, nan, 1.0]),
            "scaled, 2 passes": run(scaled(backward_passes_per_step=2), [4.0, 4.0, inf, 2.0, 2.0, 2.0]),
            "2 passes": run(clipped, [inf, 1.0, 1.0, 1.0]),
            "mixed": [str(w.dtype) for w in half.get_weights()], "mixed iterations": int(half.optimizer.iterations)}


def saving(folder: str) -> dict[str, Any]:
    """Four epochs at one go; and two, a checkpoint, two more in models that come from the file."""
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import BroadcastGlobalVariablesCallback, DistributedOptimizer, RankZeroCheckpoint, load_model
    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    x, y = (np.concatenate(parts)[rank::size] for parts in zip(*batches(dense()), strict=True))

    def fit(model: Any, epochs: int, first: int = 0, *more: Any) -> Any:
        callbacks = [BroadcastGlobalVariablesCallback(), *more]
        model.fit(x, y, batch_size=8, shuffle=False, epochs=epochs, initial_epoch=first, verbose=0, callbacks=callbacks)
        return model

    def fresh() -> Any:
        keras.utils.set_random_seed(rank)
        model = dense()
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.8)
        optimizer = keras.optimizers.Adam(schedule, weight_decay=0.01, use_ema=True)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        model.compile(optimizer=DistributedOptimizer(optimizer, backward_passes_per_step=2), loss="mse", metrics=["mae"])
        return model

    path = os.path.join(folder, f"{size}-{{epoch}}.keras")
    whole = fit(fresh(), 4, 0, RankZeroCheckpoint(path, every=2))
    after_two = path.format(epoch=2)
    keras.utils.set_random_seed(50 + rank)
    half = load_model(after_two, backward_passes_per_step=2)
    half.optimizer.exclude_from_weight_decay(var_names=["bias"])    # Keras keeps this in no file
    resumed = fit(half, 4, 2)
    plain = keras.saving.load_model(after_two)
    only_first = load_model(after_two, backward_passes_per_step=2) if rank == 0 else fresh()
    if rank == 0:
        only_first.optimizer.exclude_from_weight_decay(var_names=["bias"])
    fit(only_first, 4, 2)

    @keras.saving.register_keras_serializable("mine")
    class Slow(keras.optimizers.SGD):
        """An optimizer of one's own."""

    own = dense()
    own.compile(optimizer=DistributedOptimizer(Slow(0.1)), loss="mse")
    own.train_on_batch(x, y)
    own.save(os.path.join(folder, f"{size}-{rank}-own.keras"))
    custom = [type(load(os.path.join(folder, f"{size}-{rank}-own.keras")).optimizer) for load in (keras.saving.load_model, load_model)]

    used = keras.optimizers.Adam(0.1)                               # an optimizer that has a state is wrapped
    model = dense()
    model.compile(optimizer=used, loss="mse")
    model.train_on_batch(x, y)
    wrapped = DistributedOptimizer(used)
    wrapped.build(model.trainable_variables)
    copy = type(wrapped).from_config(wrapped.get_config())
    scaled = DistributedOptimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)))
    model.compile(optimizer=scaled, loss="mse")
    model.train_on_batch(x, y)
    model.save(os.path.join(folder, f"{size}-{rank}-scaled.keras"))
    back = load_model(os.path.join(folder, f"{size}-{rank}-scaled.keras"), op="sum")
    return {"whole": [whole.get_weights(), whole.optimizer.variables], "resumed": [resumed.get_weights(), resumed.optimizer.variables],
            "only first": [only_first.get_weights(), only_first.optimizer.variables],
            "files": sorted(p for p in os.listdir(folder) if p.startswith(f"{size}-") and p.count("-") == 1),
            "custom": [custom[0] is Slow, issubclass(custom[1], Slow), custom[1] is not Slow],
            "plain": [type(plain.optimizer) is keras.optimizers.Adam, int(plain.optimizer.iterations), plain.optimizer.get_config()],
            "config": whole.optimizer.get_config(),
            "state": [used.variables, wrapped.variables], "copy": type(copy) is type(wrapped) and copy.settings == wrapped.settings,
            "scaled": [isinstance(back.optimizer, keras.optimizers.LossScaleOptimizer), back.optimizer.settings.reduction.op,
                       scaled.variables, back.optimizer.variables],
            "excluded": [wrapped.settings.passes, sorted(k for k in vars(whole.optimizer) if "exclude_from" in k)]}


def refusals() -> dict[str, str]:
    """What each of these says, on this rank."""
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer, broadcast_variables
    sgd = keras.optimizers.SGD
    too_early = ""
    try:
        DistributedOptimizer(sgd()).apply([keras.ops.zeros(1)], [keras.Variable([1.0])])
    except ValueError as error:
        too_early = str(error)
    hvd.init()
    keras.config.set_dtype_policy("mixed_float16")
    mixed = dense()
    keras.config.set_dtype_policy("float32")
    rows = hvd.rank() + 1
    attempts = {
        "op": lambda: DistributedOptimizer(sgd(), op="max"),
        "compression": lambda: DistributedOptimizer(sgd(), compression="int8"),
        "passes": lambda: DistributedOptimizer(sgd(), backward_passes_per_step=0),
        "name": lambda: DistributedOptimizer("sgd"),
        "twice": lambda: DistributedOptimizer(DistributedOptimizer(sgd())),
        "around": lambda: keras.optimizers.LossScaleOptimizer(DistributedOptimizer(sgd())),
        "compile": lambda: mixed.compile(optimizer=DistributedOptimizer(sgd(loss_scale_factor=2.0)), loss="mse"),
        "root": lambda: broadcast_variables([keras.Variable([1.0])], hvd.size()),
        "shape": lambda: broadcast_variables([keras.Variable([1.0]), keras.Variable(np.zeros((rows, 2)), dtype="float32")]),
        "number": lambda: broadcast_variables([keras.Variable([1.0])] * rows),
    }
    said = {"early": too_early}
    for name, attempt in attempts.items():
        try:
            attempt()
            said[name] = ""
        except ValueError as error:
            said[name] = str(error)
    return said


def dies(way: str) -> None:
    """Rank 1 ends in the middle of training; the others say so and end by themselves."""
    import signal

    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer, RankFailure, clear_failures
    hvd.init()

    class End(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if hvd.rank() == 1 and batch == 1:
                if way == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise KeyError("a mistake in the student's code")

    model = dense()
    model.compile(optimizer=DistributedOptimizer(keras.optimizers.SGD()), loss="mse", run_eagerly=way == "eager")
    x, y = batches(model)[0]
    try:
        with clear_failures():
            model.fit(x, y, batch_size=4, verbose=0, callbacks=[End()])
    except RankFailure as error:
        print(f"said: {error}")


# ---- here ----

NAMES = ["sgd", "momentum", "adam, frozen and tied", "adam, tensor by tensor", "decay and moving average", "clipnorm", "global_clipnorm",
         "clipvalue", "loss scale factor", "sum", "fp16", "sparse momentum", "sparse adam", "sparse sum",
         "sparse, tensor by tensor, clipped", "sparse as dense", "3 passes", "3 passes by Keras", "2 passes, sparse, added"]
CHOSEN = {1: ["momentum", "sparse adam", "3 passes"], 2: NAMES,
          4: ["adam, frozen and tied", "global_clipnorm", "sum", "fp16", "sparse momentum", "3 passes"]}


@cache
def outcome(size: int) -> list[dict[str, Any]]:
    return run_ranks(scenarios, size, [CHOSEN[size]], timeout=240)


@pytest.mark.parametrize(("size", "name"), [(size, name) for size in SIZES for name in CHOSEN[size]])
def test_equal_to_one_process_after_every_step(size: int, name: str) -> None:
    ranks = [rank[name] for rank in outcome(size)]
    tolerance = 5e-3 if name == "fp16" else 2e-6
    assert len(ranks) == size and len(ranks[0]["whole"]) == STEPS
    for step, expected in enumerate(ranks[0]["whole"]):
        for number, rank in enumerate(ranks):
            for mine, first, right in zip(rank["mine"][step], ranks[0]["mine"][step], expected, strict=True):
                assert np.array_equal(mine, first), f"step {step}: rank {number} is not where rank 0 is"
                np.testing.assert_allclose(mine, right, rtol=0, atol=tolerance, err_msg=f"step {step}")
    for rank in ranks[1:]:
        assert not np.array_equal(rank["before"][0], ranks[0]["before"][0]), "the ranks began alike: the test shows nothing"
    assert not all(np.array_equal(a, b) for a, b in zip(ranks[0]["mine"][0], ranks[0]["mine"][-1], strict=True))


@pytest.mark.parametrize(("clipped", "plain"), [("clipnorm", "sgd"), ("clipvalue", "sgd"), ("global_clipnorm", "momentum")])
def test_clipping_had_something_to_clip(clipped: str, plain: str) -> None:
    with_, without = (outcome(2)[0][name]["whole"][-1] for name in (clipped, plain))
    assert max(np.abs(a - b).max() for a, b in zip(with_, without, strict=True)) > 1e-3


def test_fp16_rounds() -> None:
    last, right = outcome(2)[0]["fp16"]["mine"][-1], outcome(2)[0]["fp16"]["whole"][-1]
    assert max(np.abs(a - b).max() for a, b in zip(last, right, strict=True)) > 1e-6      # else nothing was compressed


def test_passes_count_as_one_step() -> None:
    assert outcome(2)[1]["3 passes"]["iterations"] == [step for step in range(STEPS) for _ in range(3)]


def test_operations_in_the_graph() -> None:
    found = run_ranks(operations, 2)[0]
    assert found["fused"] == {"GroupedAllreduce float32": 1}
    assert found["not fused"] == {"Allreduce float32": 4}
    assert found["fp16"] == {"GroupedAllreduce float16": 1}
    assert found["sparse"] == {"Allgather float32": 1, "Allgather int32": 1, "GroupedAllreduce float32": 1}
    assert found["sparse fp16"] == {"Allgather float16": 1, "Allgather int32": 1, "GroupedAllreduce float16": 1}
    assert found["sparse as dense"] == {"GroupedAllreduce float32": 1}
    assert found["half"] == {"GroupedAllreduce float32": 1}             # Horovod cannot add bfloat16
    assert not any(run_ranks(operations, 1)[0].values()), "one rank has nobody to talk to"


@pytest.mark.parametrize("size", [1, 2])
def test_fit_and_loops_of_your_own_agree(size: int) -> None:
    ranks = run_ranks(loops, size)
    for rank in ranks:
        assert rank["iterations"] == [2, 2, 2]
        for way in ("several", "traced", "eager"):
            for mine, fitted in zip(rank[way], ranks[0]["fit"], strict=True):
                np.testing.assert_allclose(mine, fitted, rtol=0, atol=2e-6, err_msg=way)


def test_names_may_differ_between_ranks_and_optimizers_may_share_a_step() -> None:
    first, second = run_ranks(unlike, 2)
    assert first["names"] != second["names"]
    assert first["steps"] == second["steps"] == [4, 2]
    for before, mine, other in zip(first["before"], first["after"], second["after"], strict=True):
        assert np.array_equal(mine, other) and not np.array_equal(before, mine)


def test_a_variable_without_a_gradient_stays() -> None:
    for rank in run_ranks(some_gradients, 2):
        assert rank == {1: [[-2.0], [0.0, 0.0], [-3.5]], 2: [[-2.0], [0.0, 0.0], [-3.5]]}


@pytest.mark.parametrize("size", [1, 2])
def test_infinite_on_one_rank_is_infinite_on_all(size: int) -> None:
    """Value, iterations and scale after every pass. The rate is 1 and the value begins at 1; the scale at 4 and is halved at each miss."""
    for rank in run_ranks(infinities, size):
        assert rank["scaled"] == [[0, 1, 4], [0, 1, 2], [-1, 2, 2], [-1, 2, 1], [-2, 3, 1]]
        assert rank["scaled, 2 passes"] == [[1, 0, 4], [0, 1, 4], [0, 1, 4], [0, 1, 2], [0, 1, 2], [-1, 2, 2]]
        # without loss scaling an infinity does harm, but in its own step only (clipping makes it finite here)
        assert rank["2 passes"] == [[1, 0, 0], [-7, 1, 0], [-7, 1, 0], [-8, 2, 0]]
        assert rank["mixed iterations"] == 1


@pytest.mark.parametrize("size", [1, 2])
def test_save_and_resume(size: int, tmp_path: Path) -> None:
    ranks = run_ranks(saving, size, [str(tmp_path)])
    for rank in ranks:
        for part in (0, 1):
            for way in ("resumed", "only first"):
                for mine, whole in zip(rank[way][part], ranks[0]["whole"][part], strict=True):
                    assert np.array_equal(mine, whole), way
        assert rank["plain"][:2] == [True, 2 * 12 // size // 2]            # epochs × batches / passes
        assert rank["plain"][2] == rank["config"]
        assert all(np.array_equal(a, b) for a, b in zip(*rank["state"], strict=True))
        assert rank["copy"] is True
        assert rank["custom"] == [True, True, True]
        assert rank["scaled"][:2] == [True, "sum"]
        assert all(np.array_equal(a, b) for a, b in zip(*rank["scaled"][2:], strict=True))
    assert ranks[0]["files"] == [f"{size}-2.keras", f"{size}-4.keras"]
    assert ranks[0]["excluded"][0] == 1 and ranks[0]["excluded"][1], "what was excluded from weight decay is lost"


def test_mistakes_are_told_on_every_rank() -> None:
    for said in run_ranks(refusals, 2):
        for name, part in {"early": "use hvd.init()", "op": '"average" or "sum"', "compression": '"none" or "fp16"', "passes": "1 or more",
                           "name": "Keras 3 optimizer", "twice": "wrap it once", "around": "goes inside", "compile": "goes inside",
                           "root": "0 … 1, not 2",
                           "shape": "number 1 is ([1, 2], 'float32') on rank 0 and ([2, 2], 'float32') on rank 1",
                           "number": "rank 0 has 1, rank 1 has 2"}.items():
            assert part in said[name], name


@pytest.mark.parametrize("way", ["killed", "raised", "eager"])
def test_when_a_rank_ends_the_others_say_so_and_end(way: str) -> None:
    with pytest.raises(LaunchError) as caught:          # those that hang are ended after a minute, and have said nothing
        run_ranks(dies, 3, [way], grace=60, timeout=100)
    outcome = caught.value.outcome
    assert outcome.failed == [1]
    assert outcome.returncodes[0] == outcome.returncodes[2] == 0
    for rank in (0, 2):
        assert f"said: rank {rank} cannot go on because another rank has ended" in "\n".join(outcome.tails[rank])
