"""What all ranks do together: reduce gradients, broadcast variables, average metrics and statistics, agree on a number of steps.

Every function here is a collective: all ranks must call it, in the same order, or the ones that did wait for the ones that did not.
Names of the operations are made from positions, never from names of layers or tensors: those count up with every model that a process
makes, so they differ as soon as one rank has made one model more than the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import horovod.tensorflow as hvd
import keras
import numpy as np
import tensorflow as tf

# Horovod moves these only as integers of the same width
_AS_INTEGER = {tf.uint32: tf.int32, tf.uint64: tf.int64, tf.bfloat16: tf.int16}


class RankFailure(RuntimeError):
    """Another rank has ended, so that a collective operation cannot finish on this one."""


@dataclass(frozen=True)
class Reduction:
    """How gradients are combined: op "average" or "sum", compression "none" or "fp16", one group or tensor by tensor; see the optimizer."""

    op: str = "average"
    compression: str = "none"
    fused: bool = True
    sparse_as_dense: bool = False
    name: str = "gradients"

    def __post_init__(self) -> None:
        if self.op not in ("average", "sum"):
            raise ValueError(f'op is "average" or "sum", not {self.op!r}')
        if self.compression not in ("none", "fp16"):
            raise ValueError(f'compression is "none" or "fp16", not {self.compression!r}')

    def __call__(self, gradients: Sequence[Any], local: Sequence[bool] = ()) -> list[Any]:
        """The gradients of all ranks combined, in the order, the types and (if sparse) the form in which they came.

        Args:
            gradients: tensors, `tf.IndexedSlices` or None; the same on all ranks, but for the number of a sparse gradient's rows.
            local: True where a gradient belongs to this rank alone: it is not sent. With op "average" it is divided by the number of
                ranks, because what all ranks together minimise is the average of their losses.
        """
        size = hvd.size()
        if size == 1:
            return list(gradients)
        reduced: list[Any] = list(gradients)
        dense: dict[int, tf.Tensor] = {}
        with tf.name_scope(f"{self.name}/"):                # the slash makes it absolute: the same whatever surrounds it
            for i, gradient in enumerate(gradients):
                if gradient is None:
                    continue
                if local and local[i]:
                    reduced[i] = _over(gradient, size) if self.op == "average" else gradient
                elif isinstance(gradient, tf.IndexedSlices) and not self.sparse_as_dense:
                    reduced[i] = self._gather(gradient, i, size)
                else:
                    dense[i] = tf.convert_to_tensor(gradient)
            packed = [self._pack(g) for g in dense.values()]
            for (i, g), r in zip(dense.items(), self._reduce(packed), strict=True):
                reduced[i] = tf.cast(r, g.dtype)
        return reduced

    def _reduce(self, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        op = hvd.Average if self.op == "average" else hvd.Sum
        if self.fused:
            return hvd.grouped_allreduce(tensors, op=op, name="group")
        return [hvd.allreduce(t, op=op, name=f"tensor_{i}") for i, t in enumerate(tensors)]

    def _pack(self, tensor: tf.Tensor) -> tf.Tensor:
        """What goes over the network: half precision where asked for; bfloat16, which Horovod cannot add, as float32."""
        if self.compression == "fp16" and tensor.dtype in (tf.float32, tf.float64):
            return tf.cast(tensor, tf.float16)
        return tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor

    def _gather(self, sparse: tf.IndexedSlices, i: int, size: int) -> tf.IndexedSlices:
        """The rows of all ranks one after the other. An index that comes twice stands for the sum of its rows, as on one rank."""
        values = tf.cast(hvd.allgather(self._pack(sparse.values), name=f"values_{i}"), sparse.values.dtype)
        indices = hvd.allgather(sparse.indices, name=f"indices_{i}")
        gathered = tf.IndexedSlices(values, indices, dense_shape=sparse.dense_shape)
        return _over(gathered, size) if self.op == "average" else gathered


def _over(gradient: Any, size: int) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / tf.cast(size, gradient.values.dtype), gradient.indices, gradient.dense_shape)
    return gradient / tf.cast(size, gradient.dtype)


def tf_variable(variable: Any) -> tf.Variable:
    """The TensorFlow variable behind a Keras variable; a TensorFlow variable itself."""
    return variable.value if isinstance(variable, keras.Variable) else variable


def broadcast_variables(variables: Iterable[Any], root_rank: int = 0) -> None:
    """Give the variables of all ranks the values that they have on `root_rank`. Collective.

    Args:
        variables: Keras or TensorFlow variables, as many and in the same order on all ranks: `model.weights`, `optimizer.variables`.
            (Not `model.variables`: that has the seeds of dropout too, which should differ.)
        root_rank: the rank whose values count.

    Raises:
        ValueError: no such rank, or the ranks have different numbers, shapes or types of variables.
        RankFailure: another rank has ended.
    """
    if not 0 <= root_rank < hvd.size():
        raise ValueError(f"root_rank is a rank, 0 … {hvd.size() - 1}, not {root_rank}")
    targets = [tf_variable(v) for v in variables]
    if hvd.size() == 1 or not _same([(v.shape.as_list(), v.dtype.name) for v in targets], "variables"):
        return

    @tf.function(autograph=False)                           # one graph, so that all of them are under way at the same time
    def broadcast() -> None:
        for i, v in enumerate(targets):
            wire = _AS_INTEGER.get(v.dtype)
            value = tf.convert_to_tensor(v) if wire is None else tf.bitcast(v, wire)
            value = hvd.broadcast(value, root_rank, name=f"variable_{i}")
            v.assign(value if wire is None else tf.bitcast(value, v.dtype))

    with clear_failures():
        broadcast()


def _same(mine: list[Any], what: str) -> bool:
    """Are there any? Raises ValueError, on all ranks, if they are not the same everywhere: better than a collective that never ends."""
    with clear_failures():
        everyone = hvd.allgather_object(mine, name=f"same_{what}")
    for rank, theirs in enumerate(everyone):
        if theirs != everyone[0]:
            i = next((i for i, pair in enumerate(zip(everyone[0], theirs, strict=False)) if pair[0] != pair[1]), None)
            detail = (f"rank 0 has {len(everyone[0])}, rank {rank} has {len(theirs)}" if i is None
                      else f"number {i} is {everyone[0][i]} on rank 0 and {theirs[i]} on rank {rank}")
            raise ValueError(f"the ranks do not have the same {what}: {detail}; make the same model and optimizer on all of them")
    return bool(mine)


def average_metrics(logs: Mapping[str, Any], weight: float = 1.0) -> dict[str, float]:
    """Each value averaged over the ranks that have it: sum(weight × value) / sum(weight). Collective.

    Weighted with a rank's number of samples, the mean loss and accuracy are those of all samples, however unevenly they are spread.
    What is not a mean over samples (AUC, a maximum) is averaged too, and then is just that: the average of the ranks' values.
    """
    if not weight >= 0:
        raise ValueError(f"a weight is 0 or more, not {weight}")
    with clear_failures():
        ranks = hvd.allgather_object((weight, {name: float(value) for name, value in logs.items()}), name="metrics")
    names = dict.fromkeys(name for _, values in ranks for name in values)
    return {name: _mean([(w, values[name]) for w, values in ranks if name in values]) for name in names}


def _mean(weighted: list[tuple[float, float]]) -> float:
    total = sum(w for w, _ in weighted)
    return sum(w * value for w, value in weighted if w) / total if total else float("nan")


def average_statistics(model: Any) -> None:
    """Average the weights that are not trained, such as batch normalisation's moving mean and variance, over the ranks. Collective.

    Each rank normalises with its own minibatch's mean and variance and keeps moving averages of its own shard; nothing is exchanged in
    training (that is the usual choice: the statistics are those of the local batch size). So the ranks' *trained* weights are equal, their
    *statistics* are not, and a rank that saves or evaluates alone uses its own. This makes them equal: the average of the ranks' values.
    It is in float64, so weights that are frozen, and therefore equal, stay the same to the bit. (Keras's own
    `BatchNormalization(synchronized=True)` means the replicas of a TensorFlow strategy, not Horovod's ranks.)
    """
    variables = [tf_variable(v) for v in model.non_trainable_weights if keras.backend.is_float_dtype(v.dtype)]
    if hvd.size() == 1 or not _same([(v.shape.as_list(), v.dtype.name) for v in variables], "statistics"):
        return

    @tf.function(autograph=False)
    def average() -> None:
        means = hvd.grouped_allreduce([tf.cast(v, tf.float64) for v in variables], op=hvd.Average, name="statistics")
        for v, mean in zip(variables, means, strict=True):
            v.assign(tf.cast(mean, v.dtype))

    with clear_failures():
        average()


def equal_steps(batches: int) -> int:
    """The smallest number of batches that any rank has: the steps of an epoch that all ranks can take. Collective.

    A rank that takes a step more than the others waits in its allreduce for ever; Horovod only warns, after a minute. (Its `join`, with
    which a rank lends zeros to the others, would make their average too small.) So fit with `steps_per_epoch=equal_steps(batches)` on
    data that repeat; or shard so that all ranks have the same number of whole batches, which also keeps the mean of the ranks' means the
    mean of all samples: a last batch that is short counts as much as a full one.
    """
    return min(all_steps(batches))


def all_steps(batches: int | None) -> list[Any]:
    """Every rank's number of batches, by rank; None where a rank does not know. Collective."""
    with clear_failures():
        return hvd.allgather_object(batches, name="steps")


def explain_failure(error: BaseException) -> str | None:
    """One sentence for an error that another rank's end has caused here; None if it is an error of another kind."""
    if isinstance(error, RankFailure):
        return str(error)
    if not isinstance(error, tf.errors.OpError | hvd.elastic.HorovodInternalError):
        return None
    text = str(error)
    if not any(sign in text for sign in ("Horovod has been shut down", "HorovodInternalError", "Connection closed by peer", "gloo")):
        return None
    return (f"rank {hvd.rank()} cannot go on because another rank has ended: look for the first error in the other ranks' logs, "
            "mend it and start all ranks again")


@contextlib.contextmanager
def clear_failures() -> Iterator[None]:
    """Turn the framework's long error, when another rank has ended, into a `RankFailure` of one sentence.

    For `with clear_failures(): model.fit(…)`. Other errors pass as they are.

    Raises:
        RankFailure: another rank has ended.
    """
    try:
        yield
    except Exception as error:
        if (sentence := explain_failure(error)) is None:
            raise
        raise RankFailure(sentence) from None


def as_arrays(variables: Iterable[Any]) -> list[np.ndarray]:
    """Copies of the variables' values."""
    return [np.array(tf_variable(v).numpy()) for v in variables]
