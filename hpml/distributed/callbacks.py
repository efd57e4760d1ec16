"""Keras callbacks for many ranks, under Horovod's names: broadcast, averaged metrics, learning rates, a checkpoint on rank 0.

Every rank needs the same callbacks in the same order. `MetricAverageCallback` comes before those that read the logs (early stopping,
plateaus), so that all ranks decide alike: a rank that stops alone leaves the others waiting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import horovod.tensorflow as hvd
import keras

from hpml.distributed.collectives import all_steps, average_metrics, average_statistics, broadcast_variables, tf_variable


class BroadcastGlobalVariablesCallback(keras.callbacks.Callback):
    """All ranks start with rank `root_rank`'s weights and optimizer state; and it refuses, on all ranks, what would hang later.

    Seeds of dropout stay each rank's own. On a resumed run the state that counts is what `root_rank` has loaded.

    Args:
        root_rank: whose values count.
        local_variables: variables that belong to each rank alone.

    Raises (when training begins):
        ValueError: the model has no weights yet or is not compiled; the ranks have different numbers of steps in an epoch, so that some
            would wait for ever (`hpml.distributed.equal_steps`; of a generator, Keras does not know the number before it ends, so it
            cannot be checked); or the training step is compiled with XLA.
    """

    def __init__(self, root_rank: int = 0, local_variables: Iterable[Any] = ()):
        super().__init__()
        self.root_rank = root_rank
        self.local = {tf_variable(v).ref() for v in local_variables}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        model, optimizer = self.model, getattr(self.model, "optimizer", None)
        if not model.built or optimizer is None:
            raise ValueError("there is nothing to broadcast yet: begin the model with keras.Input (or call model.build) and compile it")
        if hvd.size() > 1 and model.jit_compile and not os.environ.get("HOROVOD_ENABLE_XLA_OPS"):
            raise ValueError("XLA cannot hold an allreduce: compile the model with jit_compile=False")
        steps = all_steps(self.params.get("steps"))
        if len(known := {s for s in steps if s is not None}) > 1:
            counts = ", ".join(map(str, steps))
            raise ValueError(f"the ranks have {counts} batches in an epoch, and those with more would wait for ever: repeat the data and "
                             f"fit with steps_per_epoch={min(known)} on all ranks (hpml.distributed.equal_steps finds it)")
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        broadcast_variables([v for v in [*model.weights, *optimizer.variables] if tf_variable(v).ref() not in self.local], self.root_rank)


class MetricAverageCallback(keras.callbacks.Callback):
    """At the end of each epoch every value in the logs becomes its average over the ranks, for History and the callbacks after this one.

    A value that only some ranks have (validation on rank 0) is averaged over these, and all ranks get it.

    Args:
        weight: this rank's weight, 1 for all or its number of samples. Keras's own mean on a rank weighs its samples, so with the number of
            samples the mean loss and accuracy are those over all samples, also where ranks have unequal shards or numbers of batches.
    """

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs.update(average_metrics(logs, self.weight))


class LearningRateScheduleCallback(keras.callbacks.Callback):
    """learning rate = initial_lr × multiplier(epoch), from `start_epoch` until before `end_epoch`; outside it is left alone.

    Args:
        initial_lr: the rate that is multiplied.
        multiplier: a function of the epoch (a fraction within an epoch, unless staircase), or a number m for exponential decay,
            m ** (epoch - start_epoch).
        start_epoch, end_epoch: epochs count from 0; `end_epoch` None: to the end.
        staircase: True: set once, at the beginning of an epoch. False: before each batch.
        momentum_correction: SGD's velocity contains the learning rate of the past, so it is multiplied by new / old when the rate changes
            (Goyal et al., arXiv:1706.02677, remark 2). In Keras 3 the momentum coefficient is part of the traced training step and cannot
            be moved for one batch, as Horovod did; scaling the velocity is the same update. Other optimizers have no such velocity:
            Adam's moments do not contain the rate.
        steps_per_epoch: needed only where Keras does not know the number of batches.
    """

    def __init__(self, initial_lr: float, multiplier: float | Callable[[float], float], start_epoch: int = 0, end_epoch: int | None = None,
                 staircase: bool = True, momentum_correction: bool = True, steps_per_epoch: int | None = None):
        super().__init__()
        if initial_lr is None:
            raise ValueError("initial_lr is needed: the learning rate that the multiplier multiplies")
        self.initial_lr, self.start_epoch, self.end_epoch = float(initial_lr), start_epoch, end_epoch
        self.multiplier = multiplier if callable(multiplier) else lambda epoch: multiplier ** (epoch - start_epoch)
        self.staircase, self.momentum_correction, self.steps_per_epoch = staircase, momentum_correction, steps_per_epoch
        self.epoch = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.steps_per_epoch = self.steps_per_epoch or self.params.get("steps")
        if not self.staircase and not self.steps_per_epoch:
            raise ValueError("Keras does not know how many batches an epoch has: give the callback steps_per_epoch")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        if self.staircase:
            self._set(epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.staircase and self.steps_per_epoch:
            self._set(self.epoch + batch / self.steps_per_epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _set(self, epoch: float) -> None:
        if epoch < self.start_epoch or (self.end_epoch is not None and epoch >= self.end_epoch):
            return
        optimizer: Any = self.model.optimizer
        old = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        new = self.initial_lr * self.multiplier(epoch)
        optimizer.learning_rate = new
        if self.momentum_correction and old > 0 and new != old:
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            if isinstance(inner, keras.optimizers.SGD) and inner.built:
                for velocity in inner.momentums:
                    if velocity is not None:
                        velocity.assign(velocity * (new / old))


class LearningRateWarmupCallback(LearningRateScheduleCallback):
    """From initial_lr / ranks in the first batch to initial_lr at the end of `warmup_epochs`, a little with each batch.

    The rate for N ranks is N times the rate for one, as the batch is N times as large; but not at once (Goyal et al., arXiv:1706.02677).

    Args:
        initial_lr: the rate to arrive at, the one for all ranks: usually N times the rate for one.
        warmup_epochs: how long it takes.
        momentum_correction, steps_per_epoch: as for `LearningRateScheduleCallback`.
        verbose: 1: rank 0 says when it is done.
    """

    def __init__(self, initial_lr: float, warmup_epochs: int = 5, momentum_correction: bool = True, steps_per_epoch: int | None = None,
                 verbose: int = 0):
        def multiplier(epoch: float) -> float:
            done = epoch + 1 / (self.steps_per_epoch or 1)      # the last batch of an epoch has the round number
            return (done * (hvd.size() - 1) / warmup_epochs + 1) / hvd.size()

        super().__init__(initial_lr, multiplier, end_epoch=warmup_epochs, staircase=False, momentum_correction=momentum_correction,
                         steps_per_epoch=steps_per_epoch)
        self.verbose = verbose

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self.verbose and self.end_epoch is not None and epoch == self.end_epoch - 1 and hvd.rank() == 0:
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            print(f"\nEpoch {epoch + 1}: the warm-up is over, the learning rate is {rate:g}")


class RankZeroCheckpoint(keras.callbacks.Callback):
    """Rank 0 saves the model, with the optimizer's state, at the end of epochs; the others do not touch the file.

    The file is complete or not there: it is written beside its place and then moved, so that a run that is killed leaves the one before.

    Args:
        path: a `.keras` file; `{epoch}` in it is replaced by the number of epochs done, and names in the logs by their values.
        every: after how many epochs.
        average_statistics: True: first average what is not trained (batch normalisation's statistics) over the ranks; then all ranks
            must have this callback. False: the file has rank 0's own.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1, average_statistics: bool = False):
        super().__init__()
        self.path = os.fspath(path)
        if not self.path.endswith(".keras"):
            raise ValueError(f"a checkpoint is a .keras file, not {self.path}")
        if every < 1:
            raise ValueError(f"every is a number of epochs, 1 or more, not {every}")
        self.every, self.average_statistics = every, average_statistics

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        if self.average_statistics:
            average_statistics(self.model)
        if hvd.rank() == 0:
            path = Path(self.path.format(**(logs or {}), epoch=epoch + 1))
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.stem}.part.keras")
            self.model.save(draft)
            os.replace(draft, path)
