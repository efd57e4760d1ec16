"""The callbacks on real ranks: what they broadcast, average, schedule and save, and what they refuse before it hangs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpml.distributed import run_ranks

# ---- on the ranks ----


def model_of(seed: int, *extra: Any) -> Any:
    import keras
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), *extra, keras.layers.Dense(2)])


def data(rows: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3)).astype("f4"), rng.normal(size=(rows, 2)).astype("f4")


def beginnings() -> dict[str, Any]:
    """What the ranks have after the broadcast from the last rank: weights, optimizer state, seeds, and a variable kept local."""
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import BroadcastGlobalVariablesCallback, DistributedOptimizer
    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    model = model_of(rank, keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    model.compile(optimizer=DistributedOptimizer(keras.optimizers.SGD(0.1 * (rank + 1), momentum=0.9)), loss="mse")
    if rank == size - 1:                                    # this one has trained before
        model.optimizer.build(model.trainable_variables)
        for v in model.optimizer.variables:
            v.assign(v + 3)
    kept = model.layers[0].bias
    kept.assign(np.full(4, rank, "f4"))
    seen: dict[str, Any] = {}

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            seen["weights"] = [w.numpy() for w in model.weights if w is not kept]
            seen["state"] = [v.numpy() for v in model.optimizer.variables]
            seen["seeds"] = [v.numpy() for v in model.variables if "seed" in v.path]
            seen["kept"] = kept.numpy()

    model.fit(*data(), epochs=1, batch_size=4, verbose=0, callbacks=[BroadcastGlobalVariablesCallback(size - 1, [kept]), Look()])
    return seen


def metrics() -> dict[str, Any]:
    """Ranks with shards of different sizes, so different numbers of batches; validation on rank 0 only; two epochs without training."""
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import MetricAverageCallback, average_metrics
    hvd.init()
    rank, size = hvd.rank(), hvd.size()
    x, y = data(10 * size)
    bounds = [0, *(7 + 10 * i for i in range(size - 1)), 10 * size]     # 7, 10, …, 13 rows
    mine = slice(bounds[rank], bounds[rank + 1])
    model = model_of(1)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=["mae"])
    later: list[dict[str, float]] = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: later.append(dict(logs)))
    found = {"whole": model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)}
    for name, weight in [("weighted", len(x[mine])), ("equal", 1.0)]:
        history = model.fit(x[mine], y[mine], batch_size=4, epochs=2, verbose=0, callbacks=[MetricAverageCallback(weight), after],
                            validation_data=(x, y) if rank == 0 else None)
        found[name] = history.history
    found["later"] = later
    found["by hand"] = average_metrics({"rank": rank, **({"only here": 5.0} if rank == size - 1 else {})}, weight=rank)
    found["alone"] = model.evaluate(x[mine], y[mine], batch_size=4, verbose=0, return_dict=True)
    return found


def rates() -> dict[str, Any]:
    """Learning rates in each batch, and momentum correction beside SGD written out by hand."""
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import DistributedOptimizer, LearningRateScheduleCallback, LearningRateWarmupCallback
    hvd.init()

    class Note(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.rates: list[float] = []

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.rates.append(float(self.model.optimizer.learning_rate.numpy()))

    def run(epochs: int, *callbacks: Any, optimizer: Any = None) -> tuple[list[float], list[float]]:
        model = model_of(1)
        model.compile(optimizer=DistributedOptimizer(optimizer or keras.optimizers.Adam(0.5)), loss="mse")
        note = Note()
        history = model.fit(*data(), batch_size=4, epochs=epochs, verbose=0, callbacks=[*callbacks, note])
        return note.rates, history.history["learning_rate"]

    def descend(correct: bool) -> dict[str, Any]:
        """Two epochs of one batch; the rate falls from 0.4 to 0.1 in between. The same by hand in NumPy."""
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False, kernel_initializer="ones")])
        model.compile(optimizer=DistributedOptimizer(keras.optimizers.SGD(0.4, momentum=0.5)), loss="mse")
        schedule = LearningRateScheduleCallback(0.4, lambda epoch: 0.25 ** epoch, momentum_correction=correct)
        x, y = data(4)
        model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[schedule])
        w, v, old = np.ones((3, 2)), 0.0, 0.4
        for rate in (0.4, 0.1):
            gradient = x.T @ (x @ w - y) * 2 / y.size
            v = 0.5 * (rate / old if correct else 1.0) * v - rate * gradient
            w, old = w + v, rate
        return {"keras": model.get_weights()[0], "hand": w}

    return {"warm-up": run(3, LearningRateWarmupCallback(0.8, warmup_epochs=2, verbose=1)),
            "staircase": run(4, LearningRateScheduleCallback(0.8, 0.5, start_epoch=1, end_epoch=3)),
            "smooth": run(2, LearningRateScheduleCallback(0.6, lambda epoch: 1 + epoch, staircase=False)),
            "corrected": descend(True), "not corrected": descend(False)}


def checkpoints(folder: str) -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras

    from hpml.distributed import BroadcastGlobalVariablesCallback, DistributedOptimizer, RankZeroCheckpoint
    hvd.init()
    rank = hvd.rank()
    model = model_of(1, keras.layers.BatchNormalization())
    model.layers[0].trainable = False
    model.compile(optimizer=DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
    before = model.layers[0].get_weights()
    here = os.path.join(folder, f"by-rank-{rank}")          # each rank a folder of its own: one that should not write shows
    seen: list[list[np.ndarray]] = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append([w.numpy() for w in model.non_trainable_weights])

    x, y = data(seed=rank)                                  # other data on each rank: other statistics
    model.fit(x, y, batch_size=4, epochs=4, verbose=0, callbacks=[
        BroadcastGlobalVariablesCallback(), Look(), RankZeroCheckpoint(os.path.join(here, "e{epoch:02d}.keras"), every=2,
                                                                       average_statistics=True), Look()])
    files = sorted(os.listdir(here)) if os.path.isdir(here) else []
    saved = [keras.saving.load_model(os.path.join(here, name)).get_weights() for name in files]
    return {"files": files, "saved": saved, "last": model.get_weights(), "statistics": seen,
            "frozen": [before, model.layers[0].get_weights()]}


def refusals() -> dict[str, Any]:
    import horovod.tensorflow as hvd
    import keras

    from hpml import distributed as ours
    hvd.init()
    rank, size = hvd.rank(), hvd.size()

    def fit(rows: int, model: Any = None, first: Any = None, **how: Any) -> Any:
        if model is None:
            model = model_of(1)
            model.compile(optimizer=ours.DistributedOptimizer(keras.optimizers.SGD()), loss="mse", **how)
        x, y = data(rows)
        steps = how.get("steps")
        return model.fit(x, y, batch_size=4, verbose=0, steps_per_epoch=steps, callbacks=[first or ours.BroadcastGlobalVariablesCallback()])

    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    unbuilt.compile(optimizer=ours.DistributedOptimizer(keras.optimizers.SGD()), loss="mse")
    attempts = {
        "uneven": lambda: fit(12 if rank else 9 + 4 * size),
        "unbuilt": lambda: fit(12, unbuilt),
        "xla": lambda: fit(12, jit_compile=True),
        "rate": lambda: ours.LearningRateScheduleCallback(None, 1.0),
        "suffix": lambda: ours.RankZeroCheckpoint("weights.h5"),
        "every": lambda: ours.RankZeroCheckpoint("a.keras", every=0),
        "weight": lambda: ours.average_metrics({}, weight=-1),
    }
    said = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            said[name] = ""
        except ValueError as error:
            said[name] = str(error)
    return said


def uneven() -> dict[str, Any]:
    """One rank has more data; all take as many steps as the one with the fewest batches."""
    import horovod.tensorflow as hvd
    import keras
    import tensorflow as tf

    from hpml.distributed import BroadcastGlobalVariablesCallback, DistributedOptimizer, MetricAverageCallback, equal_steps
    hvd.init()
    x, y = data(13 if hvd.rank() == 0 else 9)
    model = model_of(hvd.rank())
    model.compile(optimizer=DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
    steps = equal_steps(math.ceil(len(x) / 4))
    shard = tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat()
    callbacks = [BroadcastGlobalVariablesCallback(), MetricAverageCallback(len(x))]
    model.fit(shard, steps_per_epoch=steps, epochs=2, verbose=0, callbacks=callbacks)
    return {"steps": steps, "iterations": int(model.optimizer.iterations), "weights": model.get_weights()}


# ---- here ----

@cache
def on(size: int, function: Any) -> list[dict[str, Any]]:
    return run_ranks(function, size)


def equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_importing_needs_no_framework() -> None:
    code = "import sys, hpml.distributed; print([m for m in sys.modules if m in ('keras', 'tensorflow', 'horovod')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("size", [1, 2])
def test_all_begin_with_the_weights_and_the_optimizer_of_one(size: int) -> None:
    ranks = on(size, beginnings)
    for number, rank in enumerate(ranks):
        assert equal(rank["weights"], ranks[-1]["weights"])
        assert equal(rank["state"], ranks[-1]["state"])
        assert rank["state"][0] == 3                                    # iterations
        assert rank["state"][1] == pytest.approx(0.1 * size + 3)        # its learning rate
        assert list(rank["kept"]) == [number] * 4
    if size > 1:
        assert not equal(ranks[0]["seeds"], ranks[1]["seeds"])          # dropout draws on


@pytest.mark.parametrize("size", [1, 3])
def test_metrics_are_averaged(size: int) -> None:
    ranks = on(size, metrics)
    for rank in ranks:
        for name in ("loss", "mae"):
            assert rank["weighted"][name] == pytest.approx([rank["whole"][name]] * 2, rel=1e-5)
            mean = sum(r["alone"][name] for r in ranks) / size
            assert rank["equal"][name] == pytest.approx([mean] * 2, rel=1e-5)
            assert [logs[name] for logs in rank["later"]] == rank["weighted"][name] + rank["equal"][name]
        if size > 1:
            assert rank["whole"]["loss"] != pytest.approx(rank["equal"]["loss"][0], rel=1e-3)
        assert rank["weighted"]["val_loss"] == pytest.approx([rank["whole"]["loss"]] * 2, rel=1e-5)
    if size == 3:
        assert ranks[0]["by hand"] == {"rank": pytest.approx(5 / 3), "only here": 5.0}


@pytest.mark.parametrize("size", [1, 2])
def test_learning_rates(size: int) -> None:
    for rank in on(size, rates):
        batches, epochs = rank["warm-up"]
        ramp = [0.8 * (1 / size + (1 - 1 / size) * step / 6) for step in range(1, 7)]
        assert batches == pytest.approx([*ramp, 0.8, 0.8, 0.8])
        assert epochs == pytest.approx([ramp[2], 0.8, 0.8])
        assert rank["staircase"][0] == pytest.approx([0.5] * 3 + [0.8] * 3 + [0.4] * 6)
        assert rank["staircase"][1] == pytest.approx([0.5, 0.8, 0.4, 0.4])
        assert rank["smooth"][0] == pytest.approx([0.6 * (1 + step / 3) for step in range(6)])
        for name in ("corrected", "not corrected"):
            np.testing.assert_allclose(rank[name]["keras"], rank[name]["hand"], atol=1e-6)
        assert not np.allclose(rank["corrected"]["hand"], rank["not corrected"]["hand"], atol=1e-3)


def test_rank_zero_saves_and_statistics_are_averaged(tmp_path: Path) -> None:
    first, second = run_ranks(checkpoints, 2, [str(tmp_path)])
    assert first["files"] == ["e02.keras", "e04.keras"]
    assert second["files"] == []
    assert equal(first["saved"][1], first["last"]) and not equal(first["saved"][0], first["last"])
    for epoch in range(4):
        before, after = ([rank["statistics"][2 * epoch + i] for rank in (first, second)] for i in (0, 1))
        if epoch % 2 == 0:                                              # every second epoch
            assert equal(before[0], after[0])
            assert not equal(*after), "each rank keeps the statistics of its own data"
        else:
            assert equal(*after)
            for a, b, mean in zip(before[0], before[1], after[0], strict=True):
                np.testing.assert_allclose(mean, (a.astype("f8") + b) / 2, rtol=1e-6)
    assert equal(*first["frozen"])                                      # to the bit


def test_what_would_hang_is_refused_on_all_ranks() -> None:
    for said in on(2, refusals):
        assert "the ranks have 5, 3 batches in an epoch" in said["uneven"]
        assert "steps_per_epoch=3" in said["uneven"]
        assert "begin the model with keras.Input" in said["unbuilt"]
        assert "jit_compile=False" in said["xla"]
        assert "initial_lr is needed" in said["rate"]
        assert ".keras file" in said["suffix"]
        assert "1 or more" in said["every"]
        assert "0 or more" in said["weight"]


def test_unequal_shards_take_equal_steps() -> None:
    first, second = on(2, uneven)
    assert first["steps"] == second["steps"] == 3
    assert first["iterations"] == second["iterations"] == 6
    assert equal(first["weights"], second["weights"])
