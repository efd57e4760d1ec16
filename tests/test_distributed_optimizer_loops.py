"""The distributed optimizer in a graph: what it puts there, and that every kind of loop, and several optimizers, get along with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rank_models import BATCH, batches, dense, embedding

from hpml.distributed import run_ranks

# ---- on the ranks ----


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


# ---- here ----


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
