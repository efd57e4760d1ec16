"""What goes wrong around the distributed optimizer: mistakes are told on every rank, and when a rank ends the others say so and end."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from rank_models import batches, dense

from hpml.distributed import run_ranks
from hpml.distributed.ranks import LaunchError

# ---- on the ranks ----


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
