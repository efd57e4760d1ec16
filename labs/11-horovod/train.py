"""A small ResNet on Fashion-MNIST, on one worker or on many:

    python train.py                          one worker
    hpml launch -np 2 train.py               two workers on this machine
    horovodrun -np 8 -H node1:4,node2:4 python train.py

Lines with a number are what makes one script N workers; without them it is an ordinary Keras script.
"""

import argparse
import os
import time

import horovod.tensorflow as hvd
import keras
import numpy as np
import tensorflow as tf

from hpml import data
from hpml import distributed as dist

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--images", type=int, default=2048, help="pictures of an epoch, all workers together")
parser.add_argument("--batch", type=int, default=64, help="pictures of one worker in one step")
parser.add_argument("--rate", type=float, default=0.05, help="learning rate of one worker alone")
parser.add_argument("--checkpoint", help="a .keras file: go on from it if it is there, and write it after every epoch")
parser.add_argument("--timeline", help="record what Horovod does, in this file")
parser.add_argument("--alone", action="store_true", help="no communication: independent copies, for the ceiling")
args = parser.parse_args()

if args.timeline:
    os.environ["HOROVOD_TIMELINE"] = "DYNAMIC"
if args.alone:                                      # each copy is a world of one
    for name in [n for n in os.environ if n.startswith("HOROVOD_")]:
        del os.environ[name]

hvd.init()                                                                              # 1 who am I?
rank, size = hvd.rank(), hvd.size()
gpus = tf.config.list_physical_devices("GPU")
if gpus:                                                                                # 2 one GPU for each worker
    tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")
keras.utils.set_random_seed(rank)           # different on purpose: nothing may depend on equal seeds


class Shard(keras.utils.PyDataset):
    """This worker's minibatches, in a new order every epoch."""

    def __init__(self, images, labels, batch, epoch=0, seed=11):
        super().__init__()
        self.images, self.labels, self.batch, self.seed = images, labels, batch, seed
        self.draw(epoch)

    def draw(self, epoch):
        self.epoch, steps = epoch, len(self.images) // (size * self.batch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        self.rows = order[:steps * size * self.batch].reshape(steps, size, self.batch)[:, rank]     # 3 my pictures

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, step):
        return self.images[self.rows[step]], self.labels[self.rows[step]]

    def on_epoch_end(self):
        self.draw(self.epoch + 1)


def resnet(widths=(16, 32, 64), classes=10):
    """A small ResNet with group normalisation."""
    layers = keras.layers

    def conv(x, width, stride=1, size=3):
        return layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)

    def norm(x):
        return layers.GroupNormalization(4)(x)

    inputs = keras.Input((28, 28, 1))
    x = layers.Activation("silu")(norm(conv(inputs, widths[0])))
    for width in widths:
        stride = 1 if width == widths[0] else 2
        y = layers.Activation("silu")(norm(conv(x, width, stride)))
        y = norm(conv(y, width))
        shortcut = x if stride == 1 else conv(x, width, 2, size=1)
        x = layers.Activation("silu")(layers.add([shortcut, y]))
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


class Clock(keras.callbacks.Callback):
    """Pictures a second of this worker in each epoch, and the launcher's progress bar."""

    def on_train_begin(self, logs=None):
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, step, logs=None):
        dist.progress(step + 1, self.params["steps"], **logs)

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(self.params["steps"] * args.batch / (time.perf_counter() - self.began))


clothes = data.load("fashion-mnist-mini")
images, labels = clothes.x_train[:args.images].astype(np.float32) / 255, clothes.y_train[:args.images]
test = slice(rank, None, size)                                                          # 3 and of the test set
test_images, test_labels = clothes.x_test[test].astype(np.float32) / 255, clothes.y_test[test]

first = 0
if args.checkpoint and rank == 0 and os.path.exists(args.checkpoint):                   # 7 only rank 0 reads …
    model = dist.load_model(args.checkpoint)
    first = int(model.optimizer.iterations) // (len(images) // (size * args.batch))
else:
    model = resnet()
    sgd = keras.optimizers.SGD(args.rate * size, momentum=0.9)                          # 5 N workers, N times the rate
    model.compile(dist.DistributedOptimizer(sgd),                                       # 4 average the gradients
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], jit_compile=False)
first = int(hvd.broadcast_object(first, root_rank=0))                                   # 7 … and tells the others

clock = Clock()
callbacks = [
    dist.BroadcastGlobalVariablesCallback(0),                                           # 3 one common start
    dist.LearningRateWarmupCallback(args.rate * size, warmup_epochs=2),                 # 5 but slowly
    dist.MetricAverageCallback(),                                                       # 6 everybody's metrics
    *([dist.RankZeroCheckpoint(args.checkpoint)] if args.checkpoint else []),           # 7 one writes
    clock,
]
if args.timeline and size > 1:
    hvd.start_timeline(args.timeline)                                                   # 8 and what took so long?
history = model.fit(Shard(images, labels, args.batch, first), initial_epoch=first, epochs=args.epochs,
                    callbacks=callbacks, shuffle=False, verbose=0)
if args.timeline and size > 1:
    hvd.stop_timeline()

found = model.evaluate(test_images, test_labels, batch_size=200, verbose=0)
weighted = np.array([*found, 1.0]) * len(test_images)
total = np.asarray(hvd.allreduce(weighted, op=hvd.Sum, name="metrics"))                 # 6 weighted by pictures
checksum = float(sum(np.abs(np.asarray(w, np.float64)).sum() for w in model.get_weights()))

dist.report(rank=rank, size=size, first=first, rates=clock.rates, loss=history.history.get("loss", []),
            test_loss=total[0] / total[2], test_accuracy=total[1] / total[2], checksum=checksum,
            parameters=model.count_params())
