"""One rank of `hpml bench scaling` with Keras 3: alone, or with Horovod through the course's adapter and with one allreduce per tensor."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from model import resnet  # type: ignore[import-not-found]
from serving import MOMENTUM, RATE, images, serve  # type: ignore[import-not-found]


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    ranks, rank = int(os.environ.get("HOROVOD_SIZE", "1")), int(os.environ.get("HPML_RANK", "0"))
    keras.utils.set_random_seed(1)                          # ranks of one world begin with the same weights
    model = resnet(keras)
    pixels, labels = map(tf.constant, images(rank))
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step_with(optimizer: Any, average: Callable[[list[Any]], list[Any]] = list) -> Callable[[], Any]:
        optimizer.build(model.trainable_variables)

        @tf.function
        def step() -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(labels, model(pixels, training=True))
            variables = model.trainable_variables
            optimizer.apply(average(tape.gradient(loss, [v.value for v in variables])), variables)
            return loss

        return step

    def sgd() -> Any:
        return keras.optimizers.SGD(RATE, MOMENTUM)

    modes: dict[str, Callable[[], Any]]
    if ranks == 1:
        modes = {"alone": step_with(sgd())}
    else:
        import horovod.tensorflow as hvd

        from hpml.distributed import DistributedOptimizer
        hvd.init()
        modes = {"fused": step_with(DistributedOptimizer(sgd())),
                 "each": step_with(sgd(), lambda grads: [hvd.allreduce(g, op=hvd.Average) for g in grads])}
    serve(modes, sum(math.prod(v.shape) for v in model.trainable_variables))


if __name__ == "__main__":
    main()
