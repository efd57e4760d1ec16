"""The distributed optimizer in a file: training that goes on from a checkpoint is the training that was never interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rank_models import batches, dense

from hpml.distributed import run_ranks

# ---- on the ranks ----


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


# ---- here ----


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
