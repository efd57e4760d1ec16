"""Any Keras optimizer, made to learn from the gradients of all ranks: Horovod for Keras 3.

    gradients → (added up over k passes) → allreduce → Keras: loss scale, clipping, weight decay, update, moving averages

The result is of a subclass of the optimizer's own class that overrides `build` and `apply`: it reduces and hands over. So `isinstance`
holds, every setting and every callback for that optimizer works, and what Keras does to a gradient it does to the *reduced* one:
- `clipnorm`, `global_clipnorm` and `clipvalue` look at the averaged gradient, as on one big batch. Clipping before would bound each
  rank's share, and the result would depend on how many ranks there are.
- A loss scale is divided out after the allreduce. Reducing is linear, so the order makes no difference to the value; but
  `LossScaleOptimizer` skips a step if it sees an infinity or a NaN. It must see the reduced gradient, in which one rank's infinity
  has reached all: then all ranks skip together and halve the same scale. Looking at their own, one rank would skip while
  the others waited for it in the allreduce, for ever. With fp16 compression scaled gradients also travel better: small ones do not vanish,
  and one that overflows is treated like any other infinity.

Sources: Sergeev and Del Balso, "Horovod", arXiv:1802.05799; its `DistributedOptimizer` gave the names of the arguments.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpml.distributed.collectives import Reduction, as_arrays, broadcast_variables, clear_failures, tf_variable

__all__ = ["DistributedOptimizer", "broadcast_variables", "load_model"]


@dataclass(frozen=True)
class Settings:
    """How a distributed optimizer communicates. It belongs to the run, not to the model: it is in no configuration and no saved file."""

    reduction: Reduction
    passes: int = 1
    average_passes: bool = True
    local: frozenset[Any] = frozenset()         # references to variables whose gradients stay on their rank


@dataclass
class Inheritance:
    """What the given optimizer had beyond its configuration: values of its variables, and attributes that were set later."""

    values: list[np.ndarray]
    attributes: list[tuple[Any, dict[str, Any]]]

    @classmethod
    def of(cls, old: Any, new: Any) -> Inheritance:
        pairs = [(old, new)]
        if hasattr(old, "inner_optimizer"):
            pairs.append((old.inner_optimizer, new.inner_optimizer))
        extra = [(to, {key: value for key, value in vars(of).items() if key not in vars(to)}) for of, to in pairs]
        return cls(as_arrays(old.variables) if old.built else [], extra)

    def hand_over(self, optimizer: Any) -> None:
        """To the new optimizer, once it is built."""
        for variable, value in zip(optimizer.variables, self.values, strict=bool(self.values)):
            variable.assign(value)
        for to, attributes in self.attributes:
            for name in attributes.keys() - vars(to).keys():
                setattr(to, name, attributes[name])


class Passes:
    """The variables in order, and the gradients of the passes since the last step, added up on this rank.

    Sums are TensorFlow variables in an object of their own, so that Keras neither tracks nor saves them.
    """

    def __init__(self, variables: Iterable[Any], accumulate: bool):
        self.order = list(variables)
        if accumulate:
            targets = [tf_variable(v) for v in self.order]
            with tf.init_scope():               # also when the optimizer is built while a function is being traced
                self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
                self.sums = {v.ref(): tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for v in targets}

    def add(self, gradients: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Adds the gradients (a sparse one as a dense one) and returns their sums' variables; None for None."""
        sums = [None if g is None else self.sums[tf_variable(v).ref()] for g, v in zip(gradients, variables, strict=True)]
        for total, g in zip(sums, gradients, strict=True):
            if total is not None:
                total.assign_add(tf.cast(tf.convert_to_tensor(g), total.dtype))
        self.count.assign_add(1)
        return sums

    def clear(self, sums: Iterable[Any]) -> None:
        for total in sums:                      # zeros, not zero times the sum: that may be infinite
            if total is not None:
                total.assign(tf.zeros_like(total))
        self.count.assign(0)


class Distributed:
    """Mixed in before the class of a Keras optimizer."""

    settings: Settings
    inheritance: Inheritance | None = None
    ready = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.ready = True

    def __setattr__(self, name: str, value: Any) -> None:
        # LossScaleOptimizer takes the factor away from an optimizer that it wraps, and so does compile() for a mixed_float16 model.
        # It would then decide rank by rank whether to skip a step: some ranks would wait for ever for the others.
        if name == "loss_scale_factor" and value is None and self.ready:
            raise ValueError("a LossScaleOptimizer goes inside, not around: DistributedOptimizer(LossScaleOptimizer(optimizer)); "
                             "for a mixed_float16 model this is what compile() needs")
        super().__setattr__(name, value)

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)                # type: ignore[misc]
        self._passes = Passes(variables, self.settings.passes > 1)
        if self.inheritance is not None:
            inheritance, self.inheritance = self.inheritance, None
            inheritance.hand_over(self)

    @tf.autograph.experimental.do_not_convert
    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """One pass: reduce the gradients of all ranks and update. With `backward_passes_per_step=k`: every k-th time, else only add."""
        step = super().apply                    # type: ignore[misc]
        grads = list(grads)
        if not self.built:                      # type: ignore[has-type]
            if trainable_variables is None or not grads:
                return step(grads, trainable_variables)
            with keras.name_scope(self.name):   # type: ignore[attr-defined]
                self.build(list(trainable_variables))
            self.built = True
        variables = self._passes.order if trainable_variables is None else list(trainable_variables)
        if not grads or len(grads) != len(variables):
            return step(grads, trainable_variables)         # Keras has the words for it
        if self.settings.passes == 1:
            return step(self._reduced(grads, variables), variables)
        sums = self._passes.add(grads, variables)

        def update() -> None:
            passes = self.settings.passes if self.settings.average_passes else 1
            totals = [None if s is None else s / tf.cast(passes, s.dtype) for s in sums]
            step(self._reduced(totals, variables), variables)
            self._passes.clear(sums)

        return tf.cond(self._passes.count >= self.settings.passes, update, lambda: None)

    def _reduced(self, gradients: list[Any], variables: list[Any]) -> list[Any]:
        with clear_failures():
            return self.settings.reduction(gradients, [tf_variable(v).ref() in self.settings.local for v in variables])


def DistributedOptimizer(optimizer: Any, *, op: str = "average", compression: str = "none", fused: bool = True,
                         backward_passes_per_step: int = 1, average_aggregated_gradients: bool = True, sparse_as_dense: bool = False,
                         local_variables: Iterable[Any] = (), name: str | None = None) -> Any:
    """A copy of a Keras optimizer that combines the gradients of all ranks before each update.

    For `model.compile(optimizer=…)` with `fit`, and for your own loops with `apply` or `apply_gradients`, in a `tf.function` or not. Call
    `hvd.init()` first, give all ranks the same weights (`BroadcastGlobalVariablesCallback` or `broadcast_variables`), and each rank its
    own part of the data, in equally many batches (`equal_steps`). With one rank nothing is sent. On a GPU compile with
    `jit_compile=False`: XLA cannot hold an allreduce. If another rank ends, `clear_failures` makes one sentence of what then happens here.

    Args:
        optimizer: any Keras 3 optimizer, a `LossScaleOptimizer` too. If it has been used, the copy takes its state over.
        op: "average": the mean of the ranks' gradients, the gradient of one batch that is as many times as large. "sum": their sum.
        compression: "fp16" sends float32 and float64 gradients as float16: half or a quarter of the bytes, three decimal digits.
        fused: True: all gradients in one grouped allreduce, which waits for the last and is sent as one piece. False: an allreduce for
            each tensor as it becomes ready, of which Horovod may still join some (HOROVOD_FUSION_THRESHOLD).
        backward_passes_per_step: k. Gradients of k passes are added up on each rank, sparse ones as dense ones; the k-th pass communicates
            and updates. In between weights, `iterations`, schedules and moving averages stand still. (Keras's own
            `gradient_accumulation_steps` works here too, but communicates in each pass, and its schedules count passes.) Sums of
            passes that have not led to a step are not saved with a model: save after a multiple of k passes.
        average_aggregated_gradients: True: the mean of the k passes, as Keras does it; False: their sum (Horovod's default).
        sparse_as_dense: True: an `IndexedSlices` gradient, as an embedding has it, is made dense and reduced. False: rows and indices of
            all ranks are gathered, which is less when few rows are used.
        local_variables: variables that belong to each rank alone, say one's part of a large embedding. Their gradients are not
            sent; with op "average" they are divided by the number of ranks.
        name: prefix of the operations in Horovod's timeline, the same on all ranks; default: "Distributed" and the optimizer's class.

    Returns:
        an optimizer whose class is a subclass of the given one's. Its `get_config` is the given one's, and a saved model is a plain
        Keras model that loads where there is no Horovod; `hpml.distributed.load_model` makes it distributed again.

    Raises:
        ValueError: an unknown op or compression, fewer than one pass, no Keras optimizer or one that is distributed already, or another
            backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Keras runs on {keras.backend.backend()} here, and this is for TensorFlow: set KERAS_BACKEND=tensorflow")
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(f"give a Keras 3 optimizer, such as keras.optimizers.SGD(0.1), not {optimizer!r}")
    if isinstance(optimizer, Distributed) or isinstance(getattr(optimizer, "inner_optimizer", None), Distributed):
        raise ValueError("this optimizer is distributed already: wrap it once")
    if isinstance(backward_passes_per_step, bool) or not isinstance(backward_passes_per_step, int) or backward_passes_per_step < 1:
        raise ValueError(f"backward_passes_per_step is a whole number of 1 or more, not {backward_passes_per_step!r}")
    parent = type(optimizer)
    # Under its parent's name in Keras's files, so that a saved model names a class that is there without this module.
    filed = keras.saving.serialize_keras_object(optimizer)
    settings = Settings(
        Reduction(op, compression, fused, sparse_as_dense, name or f"Distributed{parent.__name__}"),
        backward_passes_per_step, average_aggregated_gradients, frozenset(tf_variable(v).ref() for v in local_variables))
    kind = type(filed["registered_name"] or filed["class_name"], (Distributed, parent),
                {"settings": settings, "__module__": filed["module"], "__doc__": parent.__doc__})
    made: Any = kind.from_config(optimizer.get_config())    # type: ignore[attr-defined]
    made.inheritance = Inheritance.of(optimizer, made)
    return made


def load_model(path: str | os.PathLike[str], custom_objects: dict[str, Any] | None = None, **how: Any) -> Any:
    """A saved Keras model, ready to go on training on all ranks: its optimizer, state included, is made distributed.

    Every rank may load, or rank 0 loads, the others make the same model, and `BroadcastGlobalVariablesCallback` does the rest.

    Args:
        path: the `.keras` file.
        custom_objects: as for `keras.saving.load_model`.
        how: arguments of `DistributedOptimizer`. They are not in the file: give the ones that the run began with.

    Raises:
        ValueError: the file holds no optimizer.
    """
    model = keras.saving.load_model(os.fspath(path), custom_objects=custom_objects)
    if getattr(model, "optimizer", None) is None:
        raise ValueError(f"{os.fspath(path)} holds no optimizer to go on with: it was saved before compile(); load it with "
                         "keras.saving.load_model and compile it with a DistributedOptimizer")
    with keras.saving.custom_object_scope(custom_objects or {}):
        arguments = keras.saving.deserialize_keras_object(model.get_compile_config())
        arguments["optimizer"] = DistributedOptimizer(model.optimizer, **how)
    model.compile(**arguments)
    model.optimizer.build(model.trainable_variables)
    return model
