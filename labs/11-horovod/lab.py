# %% [markdown] slide="slide"
r"""
# One script, N workers

One worker on one core trains a small ResNet on {{one}} pictures a second. Two workers that average their gradients
manage {{grouped}}. Change one word in the averaging line, and the same two workers manage {{one_by_one}}. Leave the
line out, and they manage {{copies}}, more than ever, and learn no more than one of them would.
**None of these programs crashes, and all of their losses fall.**
"""

# %% [markdown]
r"""
*You will*

- turn an ordinary training script into one that runs on N workers, line by line: who am I, my pictures, one start,
  averaged gradients, everybody's metrics, one checkpoint;
- prove that N workers are *one big worker*: the same weights, step by step, as one process with the whole minibatch;
- predict how many bytes a step sends, and how near you come to the most that this machine allows;
- measure both, and read from a timeline where the rest of the time went.

About 90 minutes. You need the residual network from 07-resnet and the ring from 10-allreduce. The same code runs on
two cores, on eight GPUs and on sixteen nodes; the last section says how.
"""

# %% given="preamble"
import json

import numpy as np

# %%
import hpml
from hpml import check, plots, predict, widgets

hpml.lab("11-horovod")

# %% [markdown] slide="notes"
r"""
Ask for guesses before you explain: which word makes two workers slower than one? It is "grouped": one message for each
of {{tensors}} arrays against one message for all of them. And which line can be left out without a crash? All of them.
Measured on {{here}}.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Why more than one

- Networks got better with more data and more parameters, and with both grows the work.
- One server with 8 GPUs (M40) trained ResNet-50 in 2 days, ResNet-101 in 4, ResNeXt-101-32x4d in 7 and -64x4d in 14.
- Internet-scale data would take months.
- So: copy the model to N workers, divide the minibatch, average the gradients.

*V. Codreanu, Introduction to High-Performance Machine Learning, SURFsara / PRACE, 2018*
"""

# %% [markdown] slide="notes"
r"""
The days are the lecture's, for one server that has eight GPUs already. Ask what 14 days do to research: you train, test,
adjust and train again, and a faster cycle is more productive research (Rodrigues). Then ask what has to be the same on all workers, if N
of them are to be one big worker. Keep the answers on the board; the next slide has them.
"""

# %% [markdown]
r"""
## 1. The script

Here it is, without its details. It knows nothing of other workers:

```python
model = resnet()
model.compile(SGD(rate, momentum=0.9), loss=…)
for epoch in range(epochs):
    for rows in minibatches(epoch):
        model.train_on_batch(images[rows], labels[rows])
    model.save("checkpoint.keras")
print(model.evaluate(test_images, test_labels))
```

The pictures are Fashion-MNIST; every epoch takes 2048 of them. `train.py`, beside this notebook, holds the finished
script, and you will come back to it in section 9. Its option `--alone` takes everything out of it again that has to do
with other workers. Run it like that: first once, then two copies at a time, one on each core.
"""

# %%
from hpml.distributed import launch

one = launch("train.py", np=1, threads=1, args=["--alone", "--epochs", 2], shown=False)
two = launch("train.py", np=2, threads=1, args=["--alone", "--epochs", 2], shown=False)
for name, run in {"one worker": one, "two copies": two}.items():
    for copy in run.ranks:
        print(f"{name}: {copy['rates'][-1]:6.0f} pictures a second,",
              f"test loss {copy['test_loss']:.10f}")

# %% [markdown]
r"""
Read the losses. The copies agree in every digit: they looked at the same pictures in the same order and made the same
steps. Two cores were busy all the time, and the second one has added nothing. **A second process is not yet a second
worker.**

Look at the speeds as well. Nobody waited for anybody, so what two copies manage *together* is the most that two
workers could ever do on this machine. We call it the **ceiling**. Is it twice the speed of one? On the machine of this
text it is {{ceiling}} times. Where cores share a cache, the memory or the power budget, it is less.

## 2. Who am I?

All workers run the same script. What differs is who they are. Horovod numbers them:
"""

# %% given="horovod"
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import horovod.tensorflow as hvd
import tensorflow as tf

hvd.init()
gpus = tf.config.list_physical_devices("GPU")
if gpus:                                # each worker takes one, by its number on this machine
    tf.config.set_visible_devices(gpus[hvd.local_rank() % len(gpus)], "GPU")

# %%
from hpml.distributed import run_ranks


def who():
    hvd.init()
    return (f"rank {hvd.rank()} of {hvd.size()}, "
            f"local rank {hvd.local_rank()} of {hvd.local_size()}")

print("this notebook:", who())
for line in run_ranks(who, np=3):
    print("a worker:", line)

# %% [markdown]
r"""
`run_ranks` has started three processes and called the function in each. The notebook itself is a world of one.

The **rank** counts through the whole world; it says which share of the work is mine. The **local rank** counts on one
machine; it says which GPU is mine. With 4 GPUs a node, rank 6 is local rank 2 of the second node. Pin a worker by its
rank and it asks for GPU 6 on a node that has four; don't pin at all and all four workers share GPU 0.
"""

# %% [markdown] slide="slide"
r"""
## One step of N workers

![Two workers: the same weights, their own pictures, their own gradients, one mean, the same step](figures/step.svg)

What has to be equal on all workers is equal because *somebody sees to it*: the start once, the gradient in every step.
"""

# %% [markdown] slide="notes"
r"""
Cover the lowest row and ask for each box: equal or different? Pictures and gradients differ; weights, mean and new
weights are equal. Point at "broadcast once": weights never travel again, because equal weights minus an equal step are
equal weights. Then ask what happens to workers that start apart. The same step moves them all, so they stay apart for
ever, and nothing crashes.
"""

# %% [markdown]
r"""
## 3. Whose pictures?

One worker with minibatches of N·b pictures: that is what N workers with b pictures each should be. So cut the epoch in
this order.

1. **One order for everybody**: a permutation of all pictures, `np.random.default_rng([seed, epoch]).permutation(images)`.
   Same seed, same order, on all workers, without a message. Another epoch, another order.
2. **Minibatches of the world**: size·batch pictures each. What is left at the end and does not fill one is left out.
   The next epoch leaves out others.
3. **My piece**: a world's minibatch is `size` pieces of `batch` pictures, and piece number `rank` is mine.

**Write `shard`.** In the picture below, a row is a minibatch of the world, and your piece is framed.
"""

# %% exercise="shard"
def shard(images, rank, size, batch, epoch, seed):
    """The pictures of one worker in one epoch.

    images : how many there are.
    Returns their numbers, (steps, batch) int64: one row for each step.
    About 3 lines. Hint: `reshape` can cut in two directions at once.
    """
    ### BEGIN SOLUTION
    steps = images // (size * batch)
    order = np.random.default_rng([seed, epoch]).permutation(images)
    return order[:steps * size * batch].reshape(steps, size, batch)[:, rank]
    ### END SOLUTION

# %% check="shard"
# Framed: what this worker should read. Blue: what it does read, with your function.
# Then the verdict.
check("shard")

# %% [markdown]
r"""
Why so strict about the rest? Say there are 9 pictures for 2 workers, in minibatches of 2. A plain cut gives one worker 5
of them, which makes 3 steps, and the other 4, which makes 2. The first calls `allreduce` a third time and waits. The
second one is at the end of its script. Nothing fails; the job sits there until its time is over. **The number of steps must not depend
on the rank.**

Look at your shards together: do they overlap, and what is left out?
"""

# %% uses="shard"
for epoch in (0, 1):
    mine = [shard(10_000, rank, 3, 64, epoch, seed=11) for rank in range(3)]
    read = np.concatenate(mine, axis=None)
    rest = sorted(set(range(10_000)) - set(read.tolist()))
    print(f"epoch {epoch}: {[len(rows) for rows in mine]} steps, {len(read)} pictures read,",
          f"{len(set(read.tolist()))} different ones, {len(rest)} left out: {rest[:5]} …")

# %% [markdown] slide="slide"
r"""
## A shard is a piece of every minibatch

- one order for all, from a common seed and the epoch; no message is needed
- cut it into minibatches of the world, then into N pieces
- the same number of steps on every rank, or one of them waits for ever
- forget it, and N workers read the same pictures: all cores busy, nothing gained
"""

# %% [markdown] slide="notes"
r"""
Ask first: five minibatches, two workers who deal them out in turn; what does the one with three do in its third step?
It waits in `allreduce` for somebody who has left, without an error. Then the opposite mistake: two copies that read the
same pictures. In the notebook their test losses agree in every digit, and the second core has added nothing. Each worker
now has pictures of its own, and so a gradient of its own: which one do they use?
"""

# %% [markdown]
r"""
## 4. One start

Each worker draws its own random weights. Averaged gradients will move all of them by the same step, so what differs
at the start differs for ever, and the averaged gradient is that of no network at all.

Equal seeds could help, until one worker draws one number more than another. The sure way: rank 0 tells the others.
`hvd.broadcast(array, root_rank=0)` sends one array and returns a tensor; `hvd.broadcast_object(anything, root_rank=0)`
packs a whole Python object, such as a tuple of arrays, into one message.

Collective calls are for *all* workers. Rank 0 calls `broadcast` too, although it has nothing to learn. A worker that
does not call leaves the others waiting.

**Write `same_start`.**
"""

# %% exercise="same_start"
def same_start(*weights):
    """Rank 0's weights, on every rank.

    weights : NumPy arrays, different on every rank. Returns a tuple of NumPy arrays.
    About 1 line.
    """
    ### BEGIN SOLUTION
    return tuple(hvd.broadcast_object(weights, root_rank=0))
    ### END SOLUTION

# %% check="same_start"
# One array: what each rank brings, what all should leave with, and what they do leave with.
check("same_start")

# %% [markdown]
r"""
## 5. One gradient

Worker r has the loss $L_r$: the mean over its own b pictures. The loss of the world's minibatch is the mean over all
N·b of them. All pieces have the same size, so

$$L = \frac{1}{N}\sum_{r=0}^{N-1} L_r \qquad\text{and}\qquad \nabla L = \frac{1}{N}\sum_{r=0}^{N-1} \nabla L_r .$$

**The mean of the workers' gradients *is* the gradient of the big minibatch.** Not nearly: it is the same sum, added up
in another order. `hvd.allreduce(array)` returns the mean over all workers, to all workers.
`hvd.grouped_allreduce([array, …])` does that for a list, in one go.

**Write `average_gradients`.**
"""

# %% exercise="average_gradients"
def average_gradients(*gradients):
    """The mean over all workers, array by array.

    gradients : NumPy arrays, the same shapes on every rank. Returns a tuple of NumPy arrays.
    About 2 lines. Hint: tensors become arrays with .numpy().
    """
    ### BEGIN SOLUTION
    mean = hvd.grouped_allreduce(list(gradients), op=hvd.Average)
    return tuple(tensor.numpy() for tensor in mean)
    ### END SOLUTION

# %% check="average_gradients"
check("average_gradients")

# %% [markdown] slide="slide"
r"""
## Mean, not sum

$$\nabla L = \frac{1}{N}\sum_{r=0}^{N-1} \nabla L_r$$

- the gradient of the big minibatch, exactly; only the order of the additions differs
- a sum is N times too long: the learning rate is secretly multiplied by N
- pieces of different size: weight each by its number of pictures
- **one exception: batch normalisation** looks at the *worker's own* b pictures, so N workers are not one big worker
"""

# %% [markdown] slide="notes"
r"""
Ask: a sum in place of the mean, what would you see? No error, only steps that are N times too long. "Exactly" needs a
word: float32 numbers are added in another order, so the check allows one part in ten thousand. Let them find out why this
lab's network has group normalisation: it looks at one picture at a time, so equality can be demanded, and checked. When
it holds, the next question is what it costs.
"""

# %% [markdown]
r"""
The exception is worth a thought. Batch normalisation subtracts the mean of the minibatch, and every worker takes that
of its own b pictures. Then $L_r$ depends on how the pictures were dealt out, and no average mends that. Large models
live with it, or they compute these means over all workers, too, with one more allreduce in every layer. Our ResNet
uses *group* normalisation: it looks at one picture at a time. So we can ask for equality, and check it.

One more trap lies in ReLU. It has a kink at 0, and rounding alone can push a number over it. Its gradient then jumps from 0 to
1, and two trainings that should agree part ways for no reason of yours. So this network uses *SiLU*, $x \cdot \sigma(x)$,
which looks like ReLU with a rounded corner.

Here is the network. `backward` returns the loss and the gradients for one worker's pictures, `descend` makes a step of
gradient descent with momentum. Both take and return NumPy arrays, so that you see what travels.
"""

# %% given="network"
import keras


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

made = []

def network():
    """The network, and its loss and gradients as a compiled function; made once."""
    if not made:
        model = resnet()

        @tf.function
        def compiled(images, labels):
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses)
            return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

        made.extend([model, compiled])
    return made

def backward(images, labels, weights):
    """Loss (a number) and gradients (a list of arrays) of the network with these weights."""
    model, compiled = network()
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        variable.assign(weight)
    loss, gradients = compiled(images, labels)
    return float(loss), [gradient.numpy() for gradient in gradients]

def descend(weights, velocities, gradients, rate):
    """One step of gradient descent with momentum 0.9: new weights and new velocities."""
    velocities = [np.float32(0.9) * v + g for v, g in zip(velocities, gradients, strict=True)]
    weights = [w - np.float32(rate) * v for w, v in zip(weights, velocities, strict=True)]
    return weights, velocities

# %%
model, _ = network()
arrays = [variable.numpy() for variable in model.trainable_variables]
sizes = [a.size for a in arrays]
print(f"{len(arrays)} arrays, {sum(sizes):,} numbers of {arrays[0].itemsize} bytes;",
      f"the largest has {max(sizes):,} numbers, the smallest {min(sizes)}")

# %% [markdown]
r"""
**Predict.** Horovod averages with the ring of 10-allreduce: each of N workers sends $2\frac{N-1}{N}S$ bytes for S bytes
of gradients. How many *kilobytes* (1000 bytes) does each of two workers send in one step? The check counts them
later, in the kernel, on the network of the two workers.
"""

# %% predict="bytes_per_step"
predict("bytes_per_step", 310)

# %% [markdown]
r"""
## 6. One big worker

Everything is there. An epoch, on every worker: take rank 0's weights; for each row of my shard compute gradients,
average them, and make the step. Velocities begin at zero.

**Predict.** Your `train` will run on two workers, with 64 pictures a step each, against its own ceiling: two copies
that do the same work and say nothing. What percentage of the ceiling's speed will it reach? A step takes some 40 ms of
arithmetic. The message is the one that you have just computed; local memory moves some gigabytes a second.
"""

# %% predict="efficiency"
predict("efficiency", 86)

# %% [markdown]
r"""
**Write `train`.** The check starts it on two and on three workers with *different* weights. It compares what every
worker ends with, and what one process ends with that trains on the whole minibatch of the world. They may differ by
one part in ten thousand: float32 numbers were added in another order.

Then it takes the time: your workers and the ceiling, in turns.
"""

# %% exercise="train"
def train(images, labels, batch, epoch, seed, rate, *weights):
    """One epoch on all workers.

    images : (n, 28, 28, 1) float32, labels : (n,) int64, all of them on every worker.
    batch  : pictures of one worker in one step.
    Returns the weights after the epoch, a tuple of arrays, the same on every worker.
    About 7 lines. Use same_start, shard, backward, average_gradients and descend.
    """
    ### BEGIN SOLUTION
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed):
        loss, gradients = backward(images[rows], labels[rows], weights)
        mean = average_gradients(*gradients)
        weights, velocities = descend(weights, velocities, mean, rate)
    return tuple(weights)
    ### END SOLUTION

# %% check="train"
# Grey: how far one big worker moves each array of weights.
# Dots: by how much your workers miss it.
# Then the verdict: equality, bytes on the wire, and speed against the ceiling.
check("train")

# %% check="bytes_per_step"
check("bytes_per_step")

# %% check="efficiency"
check("efficiency")

# %% [markdown]
r"""
Which line costs what? The next cell runs *your* functions four times: on one worker; on two that say nothing (the
ceiling); on two that average as you do; and on two that call `allreduce` for one array after the other.
"""

# %% uses="shard same_start average_gradients train"
import inspect

from hpml import data

fashion = data.load("fashion-mnist-mini")
pictures, classes = fashion.x_train[:1024].astype(np.float32) / 255, fashion.y_train[:1024]

race = """
def main(ways, images, labels, weights):
    global average_gradients
    hvd.init()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    yours, rates = average_gradients, {}
    kinds = {
        "alone": lambda *gradients: gradients,
        "yours": lambda *gradients: yours(*gradients),
        "one by one": lambda *gradients: tuple(
            hvd.allreduce(g, name=f"gradient {i}").numpy() for i, g in enumerate(gradients)),
    }
    images, labels = images[:512 * hvd.size()], labels[:512 * hvd.size()]
    for way in ways:
        average_gradients, times = kinds[way], []
        for turn in range(4):
            hvd.allreduce(np.zeros(1), name="all begin together")
            begin = time.perf_counter()
            train(images, labels, 128, 0, 11, 0.02, *weights)
            times.append(time.perf_counter() - begin)
        rates[way] = 512 / sorted(times[1:])[1]
    return rates
"""
functions = (resnet, network, backward, descend, shard, same_start, average_gradients, train)
imports = """
import json, os, time
import horovod.tensorflow as hvd, keras, numpy as np, tensorflow as tf
"""
program = "\n".join([imports, "made = []", *map(inspect.getsource, functions), race])
# first without them: if one of yours is still open, this says so
train(pictures[:2], classes[:2], 2, 0, 11, 0.02, *arrays)

ways = ["alone", "yours", "one by one"]
alone = run_ranks(program, np=1, args=(ways[:1], pictures, classes, arrays), pin=True)
both = run_ranks(program, np=2, args=(ways, pictures, classes, arrays), pin=True)
speed = {"one worker": alone[0]["alone"]}
speed |= {f"two workers, {way}": 2 * min(worker[way] for worker in both) for way in both[0]}
for name, rate in speed.items():
    print(f"{name:24s} {rate:6.0f} pictures a second")

# %% uses="shard same_start average_gradients train"
figure, axis = plots.figure(7.5, 2.9)
bars = axis.barh(list(speed), list(speed.values()),
                 color=["#808080", "#0072b2", "#009e73", "#d55e00"])
axis.bar_label(bars, [f" {rate:.0f}" for rate in speed.values()], fontweight="bold")
axis.axvline(speed["two workers, alone"], color="0.5", ls="--")
axis.axvline(2 * speed["one worker"], color="0.5", ls=":")
axis.invert_yaxis()
axis.set(xlabel="pictures a second. Dashed: the ceiling. Dotted: twice one worker",
         xlim=(0, 2.3 * speed["one worker"]), title="What averaging costs")
figure

# %% [markdown] slide="slide"
r"""
## Efficiency: of what?

| | pictures a second |
|---|---:|
| one worker | {{one}} |
| two copies that say nothing: **the ceiling** | {{copies}} |
| two workers, all gradients in one group | {{grouped}} |
| two workers, one allreduce after the other | {{one_by_one}} |

{{here}}. Against N times one worker: {{naive}} %. Against the ceiling: **{{efficiency}} %**. The first mixes two
causes: a machine that is shared, and workers that talk. Only the second is Horovod's.
"""

# %% [markdown] slide="notes"
r"""
Cover the numbers and let them order the four rows. Same arrays and same bytes in the last two, so "equal" is a tempting
guess; but {{tensors}} messages wait {{tensors}} times until both workers agree, and {{one_by_one}} is hardly more than one
worker's {{one}}. Say why the ceiling is measured: here it is {{ceiling}} times one worker, and less where cores share a cache,
the memory or the power budget. Somebody will divide the rows: they are medians over rounds, and the {{efficiency}} % are
the median of each round's own ratio, so not the quotient of the two.
"""

# %% [markdown]
r"""
The arrays are the same in both averages, and so are the bytes. But {{tensors}} messages, one after the other, wait
{{tensors}} times until all workers have agreed that it is this array's turn. Lab 12-fusion is about that.

## 7. The step of a big worker

Two workers with 128 pictures each make half as many steps in an epoch, each with a better gradient. If the rate stays
as it was, the epoch simply goes half as far. **Linear scaling**: N times the minibatch, N times the rate.

In the first steps the weights change fastest, and the large rate throws them off. So the rate starts where one worker
has it, and grows by the same amount in every step:

$$\eta_t \;=\; \eta\,\Big(1 + (N-1)\cdot\min\Big(\frac{t}{T},\,1\Big)\Big),$$

with T steps of warm-up. (P. Goyal et al., 2017: ImageNet, ResNet-50, 8192 pictures a step. Error with scaling and
warm-up 23.7 %, as with 256 pictures; at an unchanged rate about 41.7 %.)

**Write `learning_rates`.**
"""

# %% exercise="learning_rates"
def learning_rates(base, size, steps, warm):
    """The learning rate of each step.

    base : the rate of one worker; size : workers; warm : steps of warm-up, T.
    Returns (steps,) float64. About 2 lines.
    """
    ### BEGIN SOLUTION
    done = np.minimum(np.arange(steps) / warm, 1)
    return base * (1 + (size - 1) * done)
    ### END SOLUTION

# %% check="learning_rates"
check("learning_rates")

# %% [markdown]
r"""
## 8. What the world knows

**Metrics.** After the epoch, each worker has tested its part of the test set and knows a loss and an accuracy: means
over *its* pictures. If rank 0 prints its own, you read the result of one N-th of the test set. And a plain average is
not right either when a test set does not divide: a worker with 5 pictures would count as much as one with 50.

The mean over all pictures is a sum over a sum, and sums can be reduced:

$$\bar m = \frac{\sum_r n_r\, m_r}{\sum_r n_r}.$$

**Write `average_metrics`.** `hvd.allreduce(array, op=hvd.Sum)` adds up over all workers.
"""

# %% exercise="average_metrics"
def average_metrics(values, count):
    """Means over the pictures of all workers.

    values : (M,) float32, means over this worker's pictures; count : how many it has.
    Returns (M,) float32. About 3 lines. Hint: one message can carry both sums.
    """
    ### BEGIN SOLUTION
    total = hvd.allreduce(np.append(values * count, count), op=hvd.Sum).numpy()
    return (total[:-1] / total[-1]).astype(np.float32)
    ### END SOLUTION

# %% check="average_metrics"
# The width of a bar is a worker's number of pictures.
check("average_metrics")

# %% [markdown]
r"""
**Checkpoints.** All workers have the same weights, so one of them writes; N of them in the same file make a broken
file. After an interruption the file may lie on a disk that only rank 0 can see. So rank 0 reads, and tells the others
*everything that steers the loop*: the weights, the velocities, and the step. A worker that resumes at step 0 while the
rest is at step 500 makes 500 steps more than they do. You know how that ends.

`two_lives` plays it through: start without a file, train, save, lose everything, start again. The disk is rank 0's
only; the path of the others leads nowhere.
"""

# %% given="two_lives"
import os
import tempfile


def two_lives(save, resume, step, weights):
    """Start, save after `step` steps, lose everything, start again.

    Returns the steps at which both lives began, the weights of the first, those of the second.
    """
    with tempfile.TemporaryDirectory() as disk:
        if hvd.rank() > 0:
            disk = "/this worker has no disk (only rank 0 has one)"
        path = os.path.join(disk, "checkpoint.npz")
        first, *started = resume(path, *weights)
        save(path, step, *[w + np.float32(1) for w in started])     # the training in between
        second, *resumed = resume(path, *[0 * w for w in weights])
    return (np.array([int(first), int(second)]), *started, *resumed)

# %% [markdown]
r"""
**Write `save` and `resume`.** `np.savez(path, step, *weights)` writes arrays, and `np.load(path).values()` gives them
back in that order. Where there is no file, training starts at step 0, and on rank 0's weights.
"""

# %% exercise="checkpoint"
def save(path, step, *weights):
    """One worker writes `step` and the weights into the file `path`. About 2 lines."""
    ### BEGIN SOLUTION
    if hvd.rank() == 0:
        np.savez(path, step, *weights)
    ### END SOLUTION

def resume(path, *weights):
    """The saved step and weights, or 0 and these weights: rank 0's, on every rank.

    Returns the tuple (step, array, array, …). About 6 lines.
    """
    ### BEGIN SOLUTION
    step = 0
    if hvd.rank() == 0 and os.path.exists(path):
        with np.load(path) as saved:
            step, *weights = saved.values()
    return hvd.broadcast_object((int(step), *weights), root_rank=0)
    ### END SOLUTION

def checkpoint(step, *weights):
    return two_lives(save, resume, step, weights)

# %% check="checkpoint"
# One array at both starts, on every rank.
check("checkpoint")

# %% [markdown] slide="slide"
r"""
## Six lines, and what happens without them

| line | without it |
|---|---|
| pin by *local* rank | all workers of a node on one GPU |
| shard | N workers do the work of one, N times |
| broadcast the start | the mean gradient belongs to no network |
| average in every step | N networks drift apart |
| average metrics by pictures | the log shows one N-th of the test set |
| rank 0 writes, reads and *tells* | a broken file, or a job that waits for ever |

**Nothing crashes. That is what makes it hard, and why we compare with one big worker.**
"""

# %% [markdown] slide="notes"
r"""
Cover the right column and go row by row: what would the log show? For most rows nothing that looks wrong, and a loss
that falls. For the first row, ask why not pin by rank: with four GPUs to a node, rank 6 would ask for GPU 6. Then
ask how one finds such a mistake: by comparing with one big worker, as the check of `train` does. In `train.py` these
lines carry numbers.
"""

# %% [markdown]
r"""
## 9. The same in Keras

You have written it all by hand once. Now the adapter of this course does it: `hpml.distributed` is Horovod for Keras 3,
with Horovod's own names. Here are the lines of `train.py` that make one script N workers. Each is something that you
have written.
"""

# %%
from pathlib import Path

script = Path("train.py").read_text()
marked = [line.rpartition("# ")[::2] for line in script.splitlines()]
for code, mark in sorted(marked, key=lambda line: line[1][:1]):
    if mark[:1].isdigit():
        print(f"{mark:30s} {code.strip()[:80]}")

# %% [markdown]
r"""
`DistributedOptimizer` is your `average_gradients` inside the optimiser, `BroadcastGlobalVariablesCallback` your
`same_start`, `MetricAverageCallback` your `average_metrics`, `LearningRateWarmupCallback` your `learning_rates`, and
`RankZeroCheckpoint` and the two lines with a 7 are your `save` and `resume`. Run it: two epochs, an interruption, and
one epoch more.
"""

# %%
import tempfile

folder = Path(tempfile.mkdtemp())
options = ["--checkpoint", folder / "model.keras", "--epochs"]
timeline = ["--timeline", folder / "timeline.json"]
before = launch("train.py", np=2, args=[*options, 2, *timeline], shown=False)
after = launch("train.py", np=2, args=[*options, 3], shown=False)
for run in (before, after):
    for rank, worker in enumerate(run.ranks):
        print(f"rank {rank}: from epoch {worker['first']},",
              f"test accuracy {worker['test_accuracy']:.4f}, loss {worker['test_loss']:.6f},",
              f"sum of all |weights| {worker['checksum']:.10f}")

# %% [markdown]
r"""
Both ranks print the same numbers, to the last digit. In a terminal the same is
`hpml launch -np 2 train.py --epochs 3`, and on any machine that has Horovod `horovodrun -np 2 python train.py`.

## 10. Where did the time go?

A step of two workers, in slow motion. Move the sliders: how much slower one worker is, and how long the message
takes. Who waits for whom? When can the gradients of the last layers travel while those of the first are still being
computed?
"""

# %%
widgets.steps(slower=30, message=25)

# %% [markdown]
r"""
Horovod writes such a picture by itself: `train.py --timeline` has recorded one. The file is a list of events:

```python
# row 3 of the picture is this tensor
{"ph": "M", "pid": 3, "name": "process_name", "args": {"name": "gradients_3of{{tensors}}"}}
# something begins on row 3, at this microsecond
{"ph": "B", "pid": 3, "ts": 221980, "name": "NEGOTIATE_ALLREDUCE"}
# rank 0 has this gradient
{"ph": "X", "pid": 3, "ts": 221980, "name": "0", "dur": 0}
# what began last on row 3 ends
{"ph": "E", "pid": 3, "ts": 271994}
# the allreduce begins, and then a piece of it
{"ph": "B", "pid": 3, "ts": 272118, "name": "ALLREDUCE"}
{"ph": "B", "pid": 3, "ts": 273544, "name": "MEMCPY_IN_FUSION_BUFFER"}
```

`NEGOTIATE_ALLREDUCE`: some worker has this gradient, and another one not yet. `ALLREDUCE`: all have it, and it is
copied and sent. A tensor that shares its message with others is copied into a buffer first, the fusion buffer.

**Write `read_timeline`.** An `E` has no name: it ends the piece that began last on its row and is still open. Take
medians: the first allreduces of a run wait while a worker still compiles its step.
"""

# %% exercise="read_timeline"
def read_timeline(text):
    """What a Horovod timeline says about its allreduces. Broadcasts do not count.

    text : the file, JSON. Returns (3,) float64: median milliseconds in
    NEGOTIATE_ALLREDUCE, median milliseconds in ALLREDUCE, and the share of all
    allreduces, 0 to 1, that went through the fusion buffer. About 12 lines.
    """
    ### BEGIN SOLUTION
    still_open, spent = {}, {}
    for event in json.loads(text):
        row = still_open.setdefault(event["pid"], [])
        if event["ph"] == "B":
            row.append((event["name"], event["ts"]))
        elif event["ph"] == "E":
            name, begin = row.pop()
            spent.setdefault(name, []).append((event["ts"] - begin) / 1000)
    waiting, moving = spent["NEGOTIATE_ALLREDUCE"], spent["ALLREDUCE"]
    fused = len(spent.get("MEMCPY_IN_FUSION_BUFFER", [])) / len(moving)
    return np.array([np.median(waiting), np.median(moving), fused])
    ### END SOLUTION

# %% check="read_timeline"
# The file as a picture; then the verdict.
check("read_timeline")

# %% uses="read_timeline"
recorded = (folder / "timeline.json").read_text()
waiting, moving, fused = read_timeline(recorded)
print(f"your run of train.py: an allreduce waits {waiting:.1f} ms for the other worker,",
      f"takes {moving:.1f} ms, and {fused:.0%} of them were fused")

# %% [markdown]
r"""
**Explain.** Two workers are not twice as fast as one on your machine. Where does the rest go? Take it apart into what
the *machine* costs (from twice one worker down to the ceiling) and what *talking* costs (from the ceiling down to
yours), with the numbers of section 6. Then say which part of the talking is waiting and which is sending, with your
timeline, and whether the bytes that you have predicted could explain the sending. Five to eight sentences.
"""

# %% [markdown] manual="explain_efficiency"
r"""
One worker managed {{one}} pictures a second, so two should manage twice that. Two copies that say nothing reached
{{copies}}, {{ceiling}} times one worker: what is missing to 2, or what the weather of a shared machine adds, is the
machine's own doing, for its cores share memory bandwidth, a cache and the power budget. Neither Horovod nor my code
has any part in it. With averaging they reached {{grouped}}, {{efficiency}} % of the ceiling: this is what talking
costs. The timeline says that an allreduce waits {{waiting}} ms and takes {{moving}} ms. Waiting is not the network's
fault: the two workers do not finish their backward passes at the same moment, and they look for news of each other
only about every millisecond. Sending {{kilobytes}} kB through memory at some GB/s takes a fraction of a millisecond,
so the bytes explain only a part of the {{moving}} ms; the rest is the copying in and out of the fusion buffer, the
two rounds of the ring, and threads that share one core with the arithmetic.
"""

# %% [markdown] slide="slide"
r"""
## From two workers to 512

![Measured here against the ceiling, and published by Horovod for 512 GPUs](figures/scaling.svg)

Horovod on 512 GPUs, 25 Gb/s: 90 % for Inception V3 and ResNet-101, 68 % for VGG-16. Gradients: 178 MB (ResNet-101)
and 553 MB (VGG-16). By the ring's bound about 113 and 351 ms on one such link for each node of 4 GPUs.
"""

# %% [markdown] slide="notes"
r"""
Ask what the plot knows between 2 and 512 workers: nothing, so draw no line. On the left is {{here}}; on the
right are the numbers of Horovod's documentation, in per cent of N times one GPU. Both may stand in one plot because nodes
do not share memory, so that their ceiling is nearly N times one. The milliseconds are ours: 128 nodes of 4 GPUs
with one link each is an assumption, the same as in 10-allreduce.
"""

# %% [markdown]
r"""
The published efficiencies compare with N times one GPU; nodes do not share memory, so there the ceiling and that are
nearly the same. What differs from network to network is the ratio of bytes to arithmetic. The plot has your own
numbers:
"""

# %% uses="shard same_start average_gradients train"
figure, axis = plots.figure(8, 4)
ideal = 2 * speed["one worker"]
top, reached = speed["two workers, alone"], speed["two workers, yours"]
axis.semilogx([1, 512], [100, 100], "--", color="0.5", lw=1, base=2)
axis.plot([1, 2], [100, 100 * top / ideal], "s--", label="here: the ceiling of the machine")
axis.plot([1, 2], [100, 100 * reached / ideal], "o-", label="here: your train")
published = {"Inception V3, ResNet-101": (90, "^"), "VGG-16": (68, "v")}
for name, (percent, mark) in published.items():
    axis.plot([512], [percent], mark, ms=11, label=f"published: {name}, {percent} %")
axis.annotate(f"{reached / top:.0%} of the ceiling", (2, 100 * reached / ideal),
              xytext=(12, -4), textcoords="offset points", va="top")
axis.set_xticks([1, 2, 8, 64, 512], [1, 2, 8, 64, 512])
axis.set(xlabel="workers", ylabel="speed, % of N times one worker", ylim=(0, 109),
         title="Scaling efficiency")
axis.legend(loc="lower left")
figure

# %% [markdown] slide="slide"
r"""
## 11. The same command elsewhere

- **GPUs of one machine**: `hpml launch -np 4 train.py`, or `horovodrun -np 4 python train.py`. One worker, one GPU: the
  line with a 2 pins it by local rank. This needs TensorFlow for GPUs and a Horovod that was built with NCCL.
- **Several machines**: `horovodrun -np 8 -H node1:4,node2:4 python train.py`.
- **Slurm**: ask for nodes in the job script, and call the same launcher in it.

Not one line of `train.py` changes.
"""

# %% [markdown] slide="notes"
r"""
Ask which line of `train.py` has to know that there are GPUs: only the one with a 2, which pins by local rank. The script
stays, the installation does not: TensorFlow for GPUs, and a Horovod that was built with NCCL. What also changes from
machine to machine is the ceiling. So measure it there first, with `--alone`, before you call an efficiency good or bad.
"""

# %% [markdown] slide="slide"
r"""
## What to take home

**N workers are one big worker: the same weights, step by step. That takes one start, one gradient, one order of
pictures, and one rate that fits the big minibatch. It is correct when it equals the single process, and fast when it
is near the ceiling of its machine; a falling loss and busy cores show neither.**
"""

# %% [markdown]
r"""
## What you measured
"""

# %%
hpml.measured()

# %% [markdown]
r"""
## Further reading

- A. Sergeev, M. Del Balso: *Horovod: fast and easy distributed deep learning in TensorFlow* (2018). Why the ring, why
  fusion, and where the timeline comes from.
- P. Goyal et al.: *Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour* (2017). Linear scaling, warm-up, and a
  list of the ways in which a distributed training goes wrong without failing.
- Y. Wu, K. He: *Group Normalization* (2018). One picture at a time.
- V. Codreanu: *Introduction to High-Performance Machine Learning* (SURFsara / PRACE, 2018), and E. Rodrigues: *High
  Performance Machine Learning: Advances, Challenges and Opportunities* (IBM Research, 2019). The lectures behind this
  lab.
"""
