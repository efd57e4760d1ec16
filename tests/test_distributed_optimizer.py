"""The distributed optimizer on 1, 2 and 4 real ranks: seeded differently, then equal to one process on the whole batch, after every step.

The ranks of one size run all scenarios one after the other, in one world; the tests look at what they brought back. Nothing here runs
an operation in this process: it, or its parent of warm ranks, is forked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from rank_models import STEPS, batches, dense, embedding, frozen_and_tied

from hpml.distributed import run_ranks

SIZES = 1, 2, 4


# ---- on the ranks ----


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
