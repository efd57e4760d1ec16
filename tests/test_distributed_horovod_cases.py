"""What Horovod's own Keras tests ask for, asked of the adapter for Keras 3, in our own words, on two real ranks.

The cases are those of horovod 0.28's test/parallel/test_tensorflow2_keras.py (each original also runs under horovodrun, on any number of
ranks). Where Keras 3 or the adapter differs on purpose, the column on the right says how.

| original | here | difference |
|---|---|---|
| test_train_model_lr_schedule | test_train_with_all_callbacks | `ThresholdedReLU` is gone from Keras 3: `ReLU(threshold=0.5)` |
| test_sparse_as_dense | test_sparse_as_dense | also looks at the weights |
| test_sparse_as_dense_with_grad_aggregation | test_sparse_as_dense_with_passes | steps made instead of a private counter |
| test_grad_aggregation_with_inf_grad | test_an_infinity_does_not_outlive_its_step | clipped, so that the next step shows |
| test_from_config | test_from_config | a copy keeps how it communicates |
| test_elastic_state | does not apply | not elastic: a world has a fixed size, and a rank that is lost ends the run (note below) |
| test_gradient_aggregation (mean, sum) | test_passes | `iterations` counts steps, not passes: see DistributedOptimizer |
| test_gradient_aggregation_with_local_vars (mean, sum) | test_passes_with_local_variables | `local_variables=` from the start |
| test_partial_distributed_optimizer | test_local_layers | `local_variables=`; updates, as there is no `_compute_gradients` |
| test_broadcast_global_variables_callback_with_local_vars | test_broadcast_but_for_local_variables | the same |

Of the elastic state, the synchronisation from the root is what BroadcastGlobalVariablesCallback does (test_distributed_callbacks.py).
(`test_session`, which also shows in a run of the original, is TensorFlow's own and tests nothing.)
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from hpml.distributed import run_ranks

SIZE, PASSES = 2, 4

# ---- on the ranks ----


def training() -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras

    from hpml import distributed as ours
    hvd.init()
    keras.utils.set_random_seed(hvd.rank())
    initial = 0.1 * hvd.size()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.RepeatVector(3), keras.layers.ReLU(threshold=0.5)])
    model.compile(loss="mean_squared_error", optimizer=ours.DistributedOptimizer(keras.optimizers.Adam()),
                  metrics=[keras.metrics.categorical_accuracy])
    callbacks = [
        ours.BroadcastGlobalVariablesCallback(0), ours.MetricAverageCallback(), ours.LearningRateWarmupCallback(initial, warmup_epochs=5),
        ours.LearningRateScheduleCallback(initial, 1e-1, start_epoch=5, end_epoch=10),
        ours.LearningRateScheduleCallback(initial, 1e-2, start_epoch=10, end_epoch=15),
        ours.LearningRateScheduleCallback(initial, lambda epoch: epoch, start_epoch=15, end_epoch=20)]
    history = model.fit(np.random.random((10, 3)), np.random.random((10, 3, 2)), batch_size=2, epochs=20, callbacks=callbacks, verbose=0)
    return {**history.history, "initial": initial, "weights": model.get_weights()}


def sparse(passes: int) -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer
    hvd.init()
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Embedding(1000, 64)])
    optimizer = DistributedOptimizer(keras.optimizers.RMSprop(0.0001), sparse_as_dense=True, backward_passes_per_step=passes)
    model.compile(loss="mean_squared_error", optimizer=optimizer)
    rng = np.random.default_rng(hvd.rank())
    x, y = rng.integers(1000, size=(32, 10)), rng.random((32, 10, 64))
    start, steps = model.get_weights()[0], []
    for _ in range(4):
        model.train_on_batch(x, y)
        steps.append(int(optimizer.iterations))
    return {"steps": steps, "weights": model.get_weights()[0], "moved": np.abs(model.get_weights()[0] - start).max(), "tokens": x}


def infinite() -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    from hpml.distributed import DistributedOptimizer
    hvd.init()
    x = tf.Variable(0.0)
    optimizer = DistributedOptimizer(keras.optimizers.SGD(1.0, clipvalue=10.0), backward_passes_per_step=2)
    seen = []
    for step in range(4):
        with tf.GradientTape() as tape:
            loss = x * float("inf") if step == 0 else x
        optimizer.apply_gradients([(tape.gradient(loss, x), x)])
        seen.append(float(x))
    return {"x": seen}


def configurations() -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer
    hvd.init()
    optimizer = DistributedOptimizer(keras.optimizers.Adam(0.02, beta_1=0.7), op="sum", backward_passes_per_step=3)
    one = optimizer.from_config(optimizer.get_config())
    two = type(optimizer).from_config(optimizer.get_config())
    return {"configs": [o.get_config() for o in (optimizer, one, two)], "kinds": len({type(o) for o in (optimizer, one, two)}),
            "adam": isinstance(one, keras.optimizers.Adam)}


def adding_optimizer(**how: Any) -> Any:
    """Adds the gradient to the variable: what arrives is what is seen."""
    import keras

    from hpml.distributed import DistributedOptimizer

    class Add(keras.optimizers.Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_add(variable, gradient)

    return DistributedOptimizer(Add(1.0), backward_passes_per_step=PASSES, **how)


def passes(mean: bool) -> dict[str, Any]:
    """loss = x - y[0], in a tf.function; y's gradient is sparse."""
    import horovod.tensorflow as hvd
    import tensorflow as tf
    hvd.init()
    x, y = tf.Variable([0.0]), tf.Variable([1.0, 2.0])
    optimizer = adding_optimizer(average_aggregated_gradients=mean, sparse_as_dense=True)
    optimizer.build([x, y])

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = x - tf.gather(y, [0])
        optimizer.apply_gradients(zip(tape.gradient(loss, [x, y]), [x, y], strict=True))

    seen = []
    for _ in range(10):
        step()
        seen.append([*x.numpy(), *y.numpy(), int(optimizer.iterations)])
    return {"seen": seen}


def local_passes(mean: bool) -> dict[str, Any]:
    """loss = x - (rank + 1) y[0], for four pairs of variables; the first two pairs are each rank's own."""
    import horovod.tensorflow as hvd
    import tensorflow as tf
    hvd.init()
    xs, ys = [tf.Variable([0.0]) for _ in range(4)], [tf.Variable([1.0, 2.0]) for _ in range(4)]
    optimizer = adding_optimizer(average_aggregated_gradients=mean, sparse_as_dense=True, local_variables=[*xs[:2], *ys[:2]])
    optimizer.build([*xs, *ys])

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = [x - float(hvd.rank() + 1) * tf.gather(y, [0]) for x, y in zip(xs, ys, strict=True)]
        optimizer.apply_gradients(zip(tape.gradient(loss, [*xs, *ys]), [*xs, *ys], strict=True))

    seen = []
    for _ in range(10):
        step()
        seen.append([[v.numpy() for v in xs], [v.numpy() for v in ys]])
    return {"seen": seen}


def local_layers(count: int) -> dict[str, Any]:
    """The same weights everywhere, other data on each rank; the first `count` layers' gradients stay at home."""
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    from hpml.distributed import DistributedOptimizer
    hvd.init()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones"), keras.layers.RepeatVector(3),
                              keras.layers.TimeDistributed(keras.layers.Dense(3, kernel_initializer="ones"))])
    rng = np.random.default_rng(hvd.rank())
    x, y = rng.random((1, 3)), rng.random((1, 3, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    local = [v for layer in model.layers[:count] for v in layer.trainable_variables]
    optimizer = DistributedOptimizer(keras.optimizers.SGD(1.0), local_variables=local)
    before = model.get_weights()
    optimizer.apply(gradients, model.trainable_variables)
    return {"gradients": gradients, "updates": [a - b for a, b in zip(before, model.get_weights(), strict=True)], "local": len(local)}


def broadcast_but_for() -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import BroadcastGlobalVariablesCallback, DistributedOptimizer
    hvd.init()
    start = keras.initializers.Constant(hvd.rank())
    dense = [keras.layers.Dense(3, kernel_initializer=start, bias_initializer=start, trainable=False) for _ in range(4)]
    last = keras.layers.Dense(3)                            # Keras 3 wants something to train
    model = keras.Sequential([keras.Input((3,)), *dense, last])
    model.compile(loss="mse", optimizer=DistributedOptimizer(keras.optimizers.SGD(0.1)))
    root = hvd.size() - 1
    callback = BroadcastGlobalVariablesCallback(root, local_variables=dense[0].variables)
    model.fit(np.ones((1, 3)), np.ones((1, 3)), verbose=0, callbacks=[callback])
    return {"local": dense[0].get_weights(), "others": [w for layer in dense[1:] for w in layer.get_weights()]}


# ---- here ----

@cache
def ranks(function: Any, *args: Any) -> list[dict[str, Any]]:
    return run_ranks(function, SIZE, args)


def test_train_with_all_callbacks() -> None:
    first, second = ranks(training)
    assert first["loss"] == second["loss"] and len(first["loss"]) == 20
    assert first["categorical_accuracy"] == second["categorical_accuracy"]
    for a, b in zip(first["weights"], second["weights"], strict=True):
        assert np.array_equal(a, b)
    initial, rates = first["initial"], first["learning_rate"]
    assert rates[:5] == pytest.approx([initial * (1 + (epoch + 1) / 5) / 2 for epoch in range(5)])
    assert rates[5:10] == pytest.approx([initial * 0.1 ** n for n in range(5)])
    assert rates[10:15] == pytest.approx([initial * 0.01 ** n for n in range(5)])
    assert rates[15:] == pytest.approx([initial * epoch for epoch in range(15, 20)])


def test_sparse_as_dense() -> None:
    first, second = ranks(sparse, 1)
    assert first["steps"] == [1, 2, 3, 4]
    assert np.array_equal(first["weights"], second["weights"]) and first["moved"] > 0
    assert not np.array_equal(first["tokens"], second["tokens"])


def test_sparse_as_dense_with_passes() -> None:
    first, second = ranks(sparse, 2)
    assert first["steps"] == second["steps"] == [0, 1, 1, 2]
    assert np.array_equal(first["weights"], second["weights"]) and first["moved"] > 0


def test_an_infinity_does_not_outlive_its_step() -> None:
    for rank in ranks(infinite):
        assert rank["x"] == [0, -10, -10, -11]


def test_from_config() -> None:
    for rank in ranks(configurations):
        original, one, two = rank["configs"]
        assert original == one == two and original["beta_1"] == 0.7
        assert rank["kinds"] == 1 and rank["adam"]


@pytest.mark.parametrize("mean", [True, False])
def test_passes(mean: bool) -> None:
    for rank in ranks(passes, mean):
        for done, seen in enumerate(rank["seen"], start=1):
            steps = done // PASSES
            moved = steps * (1 if mean else PASSES)
            assert seen == pytest.approx([moved, 1 - moved, 2, steps])


@pytest.mark.parametrize("mean", [True, False])
def test_passes_with_local_variables(mean: bool) -> None:
    for number, rank in enumerate(ranks(local_passes, mean)):
        for done, (xs, ys) in enumerate(rank["seen"], start=1):
            moved = done // PASSES * (1 if mean else PASSES)
            average = sum(range(1, SIZE + 1)) / SIZE
            np.testing.assert_allclose(np.ravel(xs), [moved / SIZE] * 2 + [moved] * 2)
            np.testing.assert_allclose(ys, [[1 - moved * (number + 1) / SIZE, 2]] * 2 + [[1 - moved * average, 2]] * 2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_local_layers(count: int) -> None:
    found = ranks(local_layers, count)
    for rank in found:
        assert rank["local"] == (0 if count == 0 else 2)    # RepeatVector, the second layer, has no variables
        for i, update in enumerate(rank["updates"]):
            every = [r["gradients"][i] for r in found]
            assert not np.allclose(*every)
            right = rank["gradients"][i] / SIZE if i < rank["local"] else np.mean(every, axis=0)
            np.testing.assert_allclose(update, right, atol=1e-6)


def test_broadcast_but_for_local_variables() -> None:
    for number, rank in enumerate(ranks(broadcast_but_for)):
        assert all((w == number).all() for w in rank["local"])
        assert all((w == SIZE - 1).all() for w in rank["others"]) and len(rank["others"]) == 6
