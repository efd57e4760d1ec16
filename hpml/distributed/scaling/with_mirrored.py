"""One rank of `hpml bench scaling` with legacy Keras: alone, or under TensorFlow's own MultiWorkerMirroredStrategy (TF_CONFIG is set).

TF_USE_LEGACY_KERAS=1 stands in its environment.
"""

from __future__ import annotations

import contextlib
import math
import os
from typing import Any

import tensorflow as tf
import tf_keras  # type: ignore[import-not-found]
from model import resnet  # type: ignore[import-not-found]
from serving import MOMENTUM, RATE, images, serve  # type: ignore[import-not-found]


def patient() -> None:
    """Workers that stand frozen between their blocks must not take each other for dead. TensorFlow's defaults otherwise."""
    from tensorflow.python.eager import context
    from tensorflow.tsl.protobuf import coordination_config_pb2
    job = coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=int(os.environ["HPML_RANKS"]))
    context.context().configure_coordination_service(
        "standalone", service_leader="/job:worker/replica:0/task:0", heartbeat_timeout_in_ms=600_000, coordinated_jobs=[job])


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    spread = "TF_CONFIG" in os.environ
    if spread:
        patient()
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if spread else None
    tf_keras.utils.set_random_seed(1)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model, optimizer = resnet(tf_keras), tf_keras.optimizers.SGD(RATE, MOMENTUM)
        optimizer.build(model.trainable_variables)
    pixels, labels = map(tf.constant, images(int(os.environ["HPML_RANK"])))
    loss_of = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    copies = strategy.num_replicas_in_sync if strategy else 1

    def local() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(loss_of(labels, model(pixels, training=True))) / copies      # gradients are summed
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    @tf.function
    def step() -> Any:
        return local() if strategy is None else strategy.run(local)

    serve({"spread" if spread else "alone": step}, sum(math.prod(v.shape) for v in model.trainable_variables))


if __name__ == "__main__":
    main()
