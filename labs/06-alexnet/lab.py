# %% [markdown] slide="slide"
r"""
# Sixty million weights

In 2012 a network with 60 965 224 weights won the contest of ImageNet, 1.2 million photographs of a thousand kinds of
things, by so much that the field changed within a year. Where are those weights, and what do they do?

Nineteen out of twenty sit in three layers, **which do one multiplication in twelve**. Five other layers do nearly all
of the work. Take two of the three away, and most of the weights are gone. What does that cost?
"""

# %% [markdown]
r"""
*You will*

- write AlexNet down as it was published, and count its weights, its work and its memory, layer by layer;
- predict where the weights are and where the work is, and find that these are two different places;
- say, with numbers, why it took two graphics cards in 2012;
- make the end of a convolutional layer several times faster by changing the order of three steps, with the same result to the last bit;
- train a small AlexNet on real pictures, take layers away, and judge from several seeds what is an effect and what is luck.

About 90 minutes. You need 04-conv-gemm and 05-lenet: convolutions, pooling, feature maps. Networks are built and trained
with Keras.
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, data, plots, predict, widgets

hpml.lab("06-alexnet")

# %% [markdown] slide="notes"
r"""
Ask two questions before you go on: in which layers are the weights, and in which is the work? Most people give the same
answer twice. Write the guesses on the board; both are settled within ten minutes.
"""

# %% [markdown] slide="slide"
r"""
## 1. Eleven layers

![AlexNet's layers: weights and work](figures/layers.svg)

Five convolutions, three poolings, three dense layers, 650 thousand neurons.

*A. Krizhevsky, I. Sutskever, G. Hinton, 2012; V. Codreanu, SURFsara / PRACE, 2018*
"""

# %% [markdown]
r"""
The same picture, to play with. Blue is a *convolution*: a small window of weights that slides over the picture. Grey is
a *pooling*: the largest number of each small window is kept, the others are dropped. Orange is a *dense* layer: every
number that comes in has a weight to every neuron. What comes out of a layer, one small picture for each channel, we call
its *feature maps*. A *MAC*, multiply-accumulate, is one multiplication and the addition behind it.

Take layers away with the switches, and change the batch. Which switch moves the number of weights most? Which moves the
work? Take conv1 away, and look at the layers behind it: why does their work explode?
"""

# %%
widgets.layers()

# %% [markdown]
r"""
## 2. Write it down

The paper describes the network in words. These are its numbers:

- Pictures have 3 channels. **conv1** has 96 output channels, a window of 11×11, and moves by 4 pixels: its *stride* is 4.
- **conv2** has 256 channels, 5×5. **conv3** and **conv4** have 384, **conv5** has 256, all 3×3. These four have stride
  1, and a border of zeros, the *padding*, just wide enough that the feature maps keep their size.
- Behind conv1, conv2 and conv5 there is a pooling, over windows of 3×3 that move by 2. So they overlap. They have no padding.
- Then come dense layers of 4096, 4096 and, for its thousand classes, 1000 neurons.

The feature maps are 55×55 after conv1, then 27, 27, 13, 13, 13, 13, and 6×6 before the first dense layer.

(The paper says that its pictures are 224×224. With a window of 11 and a stride of 4 that does not give 55. It takes
227×227 pictures. This is one of the best known slips in the field.)
"""

# %% [markdown] slide="slide"
r"""
## Two towers

- The network was spread over two graphics cards, each with half of the channels.
- conv2, conv4 and conv5 look only at the channels *on their own card*. conv3 and the dense layers look at both.
- Today this is called a *grouped* convolution, with 2 groups. Each output channel reads half of the input channels: **half
  the weights, half the work, and nothing to send.**

Invented to save traffic between two cards, it is used today to save arithmetic.
"""

# %% [markdown]
r"""
**Write `alexnet`.** A network is a table with one row for each of its eleven layers, and five columns:

| channels | kernel | stride | padding | groups |
|---|---|---|---|---|

*Kernel* is the side of the window. A pooling makes no channels, so it has 0 there. A dense layer has no window, so it
has 0 as kernel; its neurons count as channels. Where there is nothing to say, stride is 1, padding 0, and groups 1.
"""

# %% exercise="alexnet"
def alexnet(classes):
    """AlexNet as it was published, with so many classes.

    Returns a NumPy array (11, 5) of int64: one row a layer,
    [channels, kernel, stride, padding, groups]. About 13 lines, most of them numbers.
    """
    ### BEGIN SOLUTION
    return np.array([
        [96, 11, 4, 0, 1],
        [0, 3, 2, 0, 1],
        [256, 5, 1, 2, 2],
        [0, 3, 2, 0, 1],
        [384, 3, 1, 1, 1],
        [384, 3, 1, 1, 2],
        [256, 3, 1, 1, 2],
        [0, 3, 2, 0, 1],
        [4096, 0, 1, 0, 1],
        [4096, 0, 1, 0, 1],
        [classes, 0, 1, 0, 1],
    ])
    ### END SOLUTION

# %% check="alexnet"
# Bars: the feature maps of the text. Dots: what your table makes of a picture of 227×227.
# Then the verdict.
check("alexnet")

# %% [markdown]
r"""
A window of $k$ that moves by $s$ over $n$ pixels with a border of $p$ on either side has

$$\left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1$$

places. What does not fit at the end is left out: that is what the lower half brackets say. Poolings follow the same
formula.

**Write `outputs`**: go through the table, layer by layer, and note what comes out. It has to work for any table, not
only for yours.
"""

# %% exercise="outputs"
def outputs(layers, size, channels):
    """Height, width and channels of what comes out of every layer.

    layers : (L, 5) int64, rows of [channels, kernel, stride, padding, groups].
    size, channels : of the square pictures that go in. A pooling keeps the channels that come
    in; what comes out of a dense layer counts as 1×1 with so many channels.
    Returns (L, 3) int64. About 7 lines.
    """
    ### BEGIN SOLUTION
    found = []
    for k, kernel, stride, padding, _ in layers:
        size = (size + 2 * padding - kernel) // stride + 1 if kernel else 1
        channels = k if k else channels
        found.append((size, size, channels))
    return np.array(found)
    ### END SOLUTION

# %% check="outputs"
# Heights and channels behind every layer: expected as bars, yours as dots.
check("outputs")

# %% [markdown]
r"""
## 3. Where are the weights?

**Predict.** All eight layers with weights together have 60 965 224 of them. What percentage sits in the three dense
layers?
"""

# %% predict="dense_share"
predict("dense_share", 96)

# %% [markdown]
r"""
**Write `parameters`.** One output channel of a convolution reads a window of $k \times k$ pixels, in those of the $C$
channels that come in which belong to its group, and adds one bias:

$$K \cdot \left(k^2\,\frac{C}{g} + 1\right) \text{ weights, with } K \text{ output channels and } g \text{ groups.}$$

A neuron of a dense layer reads *every* number that comes in, and adds a bias. A pooling has nothing to learn.
"""

# %% exercise="parameters"
def parameters(layers, size, channels):
    """Weights and biases of every layer.

    layers, size, channels : as for `outputs`. Returns (L,) int64. About 10 lines. Use outputs.
    """
    ### BEGIN SOLUTION
    before = [(size, size, channels), *outputs(layers, size, channels)[:-1]]
    found = []
    for (k, kernel, _, _, groups), (h, w, c) in zip(layers, before, strict=True):
        inputs = kernel * kernel * c // groups if kernel else h * w * c
        found.append(k * (inputs + 1))
    return np.array(found)
    ### END SOLUTION

# %% check="parameters"
# One pair of bars for every layer; the scale is logarithmic.
check("parameters")

# %% check="dense_share"
check("dense_share")

# %% [markdown]
r"""
Does the table really describe a network? `build` makes a Keras model of one. Here a group is a *tower* of its own, as it
was on two cards: it takes its share of the channels, and its results are laid beside those of the other. We build the
full AlexNet, and let Keras count.
"""

# %% given="network"
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras


def build(table, shape, activation="relu", dropout=0.5, pool_first=False):
    """A Keras model from a table of layers.

    table : (L, 5), rows of [channels, kernel, stride, padding, groups]. shape : (H, W, C).
    dropout : share of the neurons that are left out behind every dense layer but the last.
    pool_first : whether a pooling stands before the nonlinearity, and not behind it.
    Weights begin with a spread of sqrt(2 / inputs), as in 02-neuron: "he" is its author.
    """
    layers, start = keras.layers, {"kernel_initializer": "he_uniform"}
    x = pictures = keras.Input(shape)
    rows = [[int(number) for number in row] for row in table]
    for n, (channels, kernel, stride, padding, groups) in enumerate(rows):
        pooled = n + 1 < len(rows) and rows[n + 1][0] == 0
        if kernel == 0:
            x = layers.Flatten()(x) if len(x.shape) == 4 else x
            last = n + 1 == len(rows)
            x = layers.Dense(channels, activation=None if last else activation, **start)(x)
            x = layers.Dropout(dropout)(x) if dropout and not last else x
        elif channels == 0:
            x = layers.MaxPooling2D(kernel, stride)(x)
            x = layers.Activation(activation)(x) if pool_first else x
        else:
            x = layers.ZeroPadding2D(padding)(x) if padding else x
            bend = None if pool_first and pooled else activation
            share = x.shape[-1] // groups
            towers = [x[..., g * share:(g + 1) * share] for g in range(groups)]
            width = channels // groups
            towers = [layers.Conv2D(width, kernel, stride, activation=bend, **start)(tower)
                      for tower in towers]
            x = layers.concatenate(towers) if groups > 1 else towers[0]
    return keras.Model(pictures, x)

# %% uses="alexnet outputs parameters network"
table = alexnet(1000)
full = build(table, (227, 227, 3))
print(f"Keras counts {full.count_params():,} weights, you count",
      f"{parameters(table, 227, 3).sum():,}. Published: 60 million.")

together = table.copy()
together[:, 4] = 1                  # no groups: everything on one card
print(f"Without groups: {parameters(together, 227, 3).sum():,}")
del full                            # it holds a quarter of a gigabyte

# %% [markdown]
r"""
Libraries often ship a third count, 61 100 840: a later variant of the same author, with one tower and fewer channels.
When somebody quotes "AlexNet", ask which.

## 4. Where is the work?

**Predict.** One picture goes through the network. What percentage of the multiplications happens in the three dense
layers?
"""

# %% predict="work_share"
predict("work_share", 8)

# %% [markdown]
r"""
**Write `macs`.** A weight of a dense layer is used once for each picture. A weight of a convolution is used once at
*every place* of its window. A bias is added, not multiplied.
"""

# %% exercise="macs"
def macs(layers, size, channels):
    """Multiply-accumulates of every layer for one picture.

    layers, size, channels : as for `outputs`. Returns (L,) int64. About 3 lines.
    Use outputs and parameters.
    """
    ### BEGIN SOLUTION
    height, width, _ = outputs(layers, size, channels).T
    weights = parameters(layers, size, channels) - np.where(layers[:, 0], layers[:, 0], 0)
    return weights * height * width
    ### END SOLUTION

# %% check="macs"
check("macs")

# %% check="work_share"
check("work_share")

# %% [markdown]
r"""
Put the two counts into one plot. Each point is a layer. The dashed lines say how often a weight is used for one picture:
once on the lowest, 3025 times for conv1.
"""

# %% uses="alexnet outputs parameters macs"
names = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5",
         "fc6", "fc7", "fc8"]
table = alexnet(1000)
weights, work = parameters(table, 227, 3), macs(table, 227, 3)

figure, axis = plots.figure(7.5, 4.4)
for reuse in (1, 10, 100, 1000):
    axis.loglog([1e4, 1e8], [reuse * 1e4, reuse * 1e8], "--", color="0.6", lw=1)
    left = max(1.4e4, 1.4e6 / reuse)
    often = f"used {reuse:,} times" if reuse > 1 else "used once for a picture"
    axis.annotate(often, (left, 1.25 * reuse * left), rotation=34, rotation_mode="anchor",
                  color="0.45", fontsize=9)
for kind, chosen, mark in (("convolution", table[:, 1] * table[:, 0] > 0, "o"),
                           ("dense", table[:, 1] == 0, "s")):
    label = (f"{kind}: {weights[chosen].sum() / weights.sum():.0%} of the weights,"
             f" {work[chosen].sum() / work.sum():.0%} of the work")
    axis.plot(weights[chosen], work[chosen], mark, ms=10, mec="white", label=label)
places = {"conv4": (9, -9), "conv5": (-40, -10)}           # three points are near each other
for name, x, y in zip(names, weights, work, strict=True):
    if x:
        axis.annotate(name, (x, y), xytext=places.get(name, (8, 5)), textcoords="offset points",
                      fontsize=10)
axis.set(xlim=(1e4, 1e8), ylim=(1e6, 3e9), xlabel="weights of the layer",
         ylabel="multiply-accumulates for a picture",
         title="Weights are in one place, work in another")
axis.legend(loc="upper left", fontsize=10)
figure

# %% [markdown] slide="slide"
r"""
## Weights are in one place, work in another

![Work against weights of AlexNet's layers](figures/places.svg)

Whoever wants a *smaller* network looks at the dense layers. Whoever wants a *faster* one looks at the convolutions.
"""

# %% [markdown] slide="notes"
r"""
The whole network is 0.72 G MACs a picture. The lecture's "1.5 GFLOPs" is the same number: a MAC is two floating-point
operations. In 07-resnet the two units are mixed up in one table, so get used to asking which is meant.
"""

# %% [markdown]
r"""
Remember 02-neuron: one number read from memory should do as much work as possible. A weight of conv1 does 3025
multiplications for each picture, a weight of fc6 one. With a batch of one, the dense layers are limited by memory and the
convolutions by arithmetic. This is why the large layers hold the weights, and the small ones take the time.

## 5. Why two graphics cards?

Two things can force it: memory, or time. Count the memory first. To *train*, a machine keeps

- three numbers for each weight: itself, its gradient, and its *momentum*, a running mean of gradients along which steps are
  taken;
- for each picture of the batch everything that came out of a layer, because the way back needs it. The picture itself, too.

(The ReLU overwrites its input, so it needs nothing of its own. The gradients of the outputs are needed as well, but not
all at once; we leave them out.)

**Write `training_bytes`.** A number is a float32.
"""

# %% exercise="training_bytes"
def training_bytes(layers, size, channels, batch):
    """Memory for a training step, in two parts.

    layers, size, channels : as for `outputs`. batch : pictures in a minibatch.
    Returns (2,) int64: bytes of weights, gradients and momentum together; bytes of the pictures
    and of all layers' outputs. About 4 lines. Use outputs and parameters.
    """
    ### BEGIN SOLUTION
    state = 3 * parameters(layers, size, channels).sum()
    kept = size * size * channels + outputs(layers, size, channels).prod(1).sum()
    return 4 * np.array([state, batch * kept])
    ### END SOLUTION

# %% check="training_bytes"
check("training_bytes")

# %% uses="alexnet outputs parameters training_bytes"
batches = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
table = alexnet(1000)
state, kept = np.array([training_bytes(table, 227, 3, batch) for batch in batches]).T / 1e9
figure, axis = plots.figure(7.5, 3.8)
axis.stackplot(batches, state, kept, colors=["#56b4e9", "#3fb590"],
               labels=["weights, gradients, momentum", "pictures and outputs"])
axis.axhline(3, color="#d55e00", ls="--")
axis.annotate("one GTX 580 of 2012: 3 GB", (1.1, 3.1), color="#d55e00", fontsize=10)
axis.set_xscale("log", base=2)
axis.set_xticks(batches, batches)
axis.set(xlabel="pictures in a batch", ylabel="memory for training, GB",
         xlim=(1, 1024), ylim=(0, 5.2), title="What training keeps in memory")
axis.legend(loc="upper left")
print(f"Patch matrix of conv2, 128 pictures: {4 * 128 * 27 * 27 * 25 * 96 / 1e9:.2f} GB")
figure

# %% [markdown]
r"""
The paper used batches of 128. By our count that takes 1.2 GB. Their program kept more: the gradients of the outputs, the
results of a normalisation that nobody uses any more, room for patch matrices. You have met those: the
line above the plot is for one layer. Still, the paper gives memory as the reason: a card of 3 GB "limits the maximum
size of the networks that can be trained on it". The pictures of ImageNet, they go on, are enough to train networks that do
not fit. So they took two.

And the time? A training step is about three times the forward pass: once forward, twice back. The paper went through 1.2
million pictures about 90 times.
"""

# %% uses="alexnet outputs parameters macs"
forward = 2 * macs(alexnet(1000), 227, 3).sum()             # FLOP for one picture
training = 3 * forward * 1.2e6 * 90
days = 5.5                                                  # "between five and six days"
print(f"{training:.2g} FLOP: half an exaFLOP of work.")
rate = training / (days * 86400)
print(f"In {days} days: {rate / 1e12:.2f} TFLOP/s,",
      f"{rate / (2 * 1.58e12):.0%} of the peak of two GTX 580 (1.58 TFLOP/s each).")
machine = hpml.machine()
peak = machine.gemm_gflops() * 1e9
print(f"On your machine, at its peak of {peak / 1e9:.0f} GFLOP/s:",
      f"{training / peak / 86400:.0f} days.")

# %% [markdown] slide="slide"
r"""
## Two cards, five to six days

- 0.72 GMACs a picture, forward; three times that to train; 1.2 million pictures, 90 times: **0.47 exaFLOP**.
- Five to six days on two GTX 580 of 3 GB: about 1 TFLOP/s, a third of their peak. In 2012 that was superb engineering.
- Three things brought networks back: hardware, data sets, and the accuracy that the two made possible.
- The minutes that it takes to train AlexNet fell about **500-fold in five years**, from the GTX 580 to the DGX-2.

*Counts: this lab, from Krizhevsky et al. 2012 and the card's data sheet. D. K. Panda, H. Subramoni, A. Jain, Ohio State, 2020*
"""

# %% [markdown]
r"""
## 6. Three steps in another order

Behind conv1 the same three steps follow as behind conv2 and conv5: add the bias of the channel, apply ReLU, keep the
largest number of each 3×3 window. Written one after the other:
"""

# %%
def three_steps(y, b):
    """Bias, then ReLU, then pooling: each reads all of its numbers and writes its own."""
    import numpy as np

    z = y + b
    z = np.maximum(z, 0)
    windows = np.lib.stride_tricks.sliding_window_view(z, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return windows.max((-2, -1))

# %% [markdown]
r"""
The third line is a view, as your `im2col` was: six axes, no copy. There is almost no arithmetic in all this. The time goes
into moving numbers, and three quarters of the numbers that are moved are thrown away a moment later by the pooling. Now think
about this:

- The bias is the same at all places of a channel. Does adding it change *which* number of a window is the largest?
- ReLU never turns a smaller number into a larger one. Does it change which is the largest?

$$\max_i\, \operatorname{relu}(y_i + b) \;=\; \operatorname{relu}\bigl(\max_i y_i + b\bigr)$$

Libraries say *fusing* when several passes over the same numbers become one. Here the algebra lets you do better: most of
the numbers need not be touched at all.

And the windows? The view makes NumPy collect nine numbers from three rows, again and again. Look at it from the other side:
place (i, j) of *all* windows together is one strided slice, `y[:, i:i + 2*H - 1:2, j:j + 2*W - 1:2]` for H×W windows, and
in it all channels of a pixel lie side by side. Nine such slices hold everything there is.

**Predict.** How many times as fast as the three steps will yours be, for two pictures after conv1: 55×55, 96 channels?
"""

# %% predict="fused_gain"
predict("fused_gain", 2.2)

# %% [markdown]
r"""
**Write `conv_tail`.** The result is the same to the last bit. `np.maximum(a, b, out=a)` writes into a, and needs no new
memory. The array y is not yours to change.
"""

# %% exercise="conv_tail"
def conv_tail(y, b):
    """Bias, ReLU and the largest of each 3×3 window with stride 2.

    y : (N, H, W, C) float32, what the convolution left; do not change it. b : (C,) float32.
    Returns (N, (H-3)//2 + 1, (W-3)//2 + 1, C) float32. About 8 lines.
    """
    ### BEGIN SOLUTION
    H, W = (y.shape[1] - 3) // 2 + 1, (y.shape[2] - 3) // 2 + 1
    p = y[:, 0:2 * H - 1:2, 0:2 * W - 1:2].copy()
    for i in range(3):
        for j in range(3):
            np.maximum(p, y[:, i:i + 2 * H - 1:2, j:j + 2 * W - 1:2], out=p)
    p += b
    return np.maximum(p, 0, out=p)
    ### END SOLUTION

# %% check="conv_tail"
# One channel: before, expected, yours, and the difference. Then the verdict.
check("conv_tail")

# %% check="fused_gain"
check("fused_gain")

# %% [markdown] only="slides" slide="slide"
r"""
## Pool first

$$\max_i\, \operatorname{relu}(y_i + b) \;=\; \operatorname{relu}\bigl(\max_i y_i + b\bigr)$$

- The bias is the same in the whole window; ReLU keeps the order. So the largest stays the largest.
- Bias and ReLU touch a quarter of the numbers, and two arrays as large as the feature maps are never written.
- The result is the same **to the last bit**. No hardware was bought.

How many times as fast, on one thread? Guess before you measure.
"""

# %% [markdown]
r"""
That was one step, forward. In a training run it is one step of many, and the way back gains as well: the gradient of ReLU
now passes through a quarter of the numbers. So does Keras, with a good library behind it, gain from the other order? Here
is a small AlexNet for pictures of 28×28: fewer and smaller layers, one tower, and no pooling behind conv5, since these
pictures are down to 6×6 by then.
"""

# %% given="small"
small = np.array([
    [16, 7, 1, 3, 1],               # conv1
    [0, 3, 2, 0, 1],
    [32, 5, 1, 2, 1],               # conv2
    [0, 3, 2, 0, 1],
    [48, 3, 1, 1, 1],               # conv3
    [48, 3, 1, 1, 1],               # conv4
    [32, 3, 1, 1, 1],               # conv5
    [256, 0, 1, 0, 1],              # fc6
    [256, 0, 1, 0, 1],              # fc7
    [10, 0, 1, 0, 1],               # fc8
])


def compiled(table, seed, **options):
    """A network of `build`, ready to be trained with Adam on the cross-entropy."""
    keras.utils.set_random_seed(seed)
    model = build(table, (28, 28, 1), **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model

# %% uses="network small"
import time

fashion = data.load("fashion-mnist-mini")
x_train, x_test = (pictures.astype(np.float32) / 255 - np.float32(0.3)
                   for pictures in (fashion.x_train, fashion.x_test))
y_train, y_test = fashion.y_train, fashion.y_test

orders = {"ReLU, then pooling": compiled(small, 0),
          "pooling, then ReLU": compiled(small, 0, pool_first=True)}
rates, losses = {name: [] for name in orders}, {}
for turn in range(8):                                 # in turn, so that a busy moment hits both
    for name, model in orders.items():
        begin = time.process_time()
        losses[name] = float(model.train_on_batch(x_train[:256], y_train[:256])[0])
        if turn > 1:                                  # at first Keras compiles its graph
            rates[name].append(256 / (time.process_time() - begin))
for name, found in rates.items():
    print(f"{name}: {np.median(found):,.0f} pictures a second and core, in training;",
          f"loss after {turn + 1} steps: {losses[name]:.4f}")

# %% [markdown]
r"""
The loss is the same, so it is the same training. The gain is smaller than yours was, if there is one: poolings and ReLUs are
a small part of a training step, most of it is convolution. What takes one part in ten cannot save more than one part in ten,
however fast it gets. You will meet that rule, Amdahl's, in 14-scaling.

## 7. Let a small one learn

Four ideas of 2012 are still with us. You have two of them already: **ReLU** in place of the smooth *tanh*, and a
**graphics card**. The third is **dropout**: in each training step half of the neurons of fc6 and fc7, chosen at random,
are set to zero. No neuron can rely on a certain other one, so the network is less inclined to learn its pictures by heart.
The fourth is **more data** from what there is: shifted and mirrored copies.

(The paper also normalises the outputs of a neuron by its neighbours'. Nobody does that any more, and it has no weights; we leave
it out.)

One *epoch* goes once through all pictures. The cell trains for four of them on 6000 pictures, and shows the
loss. Interrupt it whenever you like (the square in the toolbar); run it again, and it goes on.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Four ideas of 2012 that stayed

- **ReLU** in place of tanh: nearly free, and its gradient does not fade.
- **Graphics cards** for training: two of them, with one network spread over both.
- **Dropout** in the dense layers: half of the neurons are left out, others in every step.
- **More data** from what there is: shifted, mirrored and recoloured copies.

By 2014, 90 % of the teams of the ImageNet contest used graphics cards.

*A. Krizhevsky et al., 2012; D. K. Panda, H. Subramoni, A. Jain, Ohio State, 2020*
"""

# %% given="progress"
from hpml.progress import Bar


class Progress(keras.callbacks.Callback):
    """Tells a bar of every batch that is done."""

    def __init__(self, bar, batch):
        super().__init__()
        self.bar, self.pictures = bar, batch

    def on_train_batch_end(self, step, logs=None):
        self.bar.advance(self.pictures, loss=float(logs["loss"]))


def learn(model, x, y, epochs, bar, batch=64):
    """So many more epochs; the bar counts pictures."""
    full = len(x) - len(x) % batch                          # whole batches only
    model.fit(x[:full], y[:full], batch, epochs, verbose=0, callbacks=[Progress(bar, batch)])


def recognised(model, x=None, y=None):
    """Per cent of the test pictures that a network recognises, without dropout."""
    x, y = (x_test, y_test) if x is None else (x, y)
    return 100 * float(model.evaluate(x, y, batch_size=500, verbose=0)[1])

# %%
model, history = compiled(small, seed=0), []
began = model.get_weights()[0]

# %% uses="network small progress"
epochs, pictures = 4, 6000
bar = Bar((epochs - len(history)) * (pictures - pictures % 64), "images")
while len(history) < epochs:
    learn(model, x_train[:pictures], y_train[:pictures], 1, bar)
    history.append(recognised(model))
print("recognised after each epoch, %:", *(f"{share:.1f}" for share in history))

# %% [markdown]
r"""
What has the first layer learned? Its sixteen windows of 7×7 weights are pictures. Above, as they are now; below, what
training has changed. In the AlexNet of 2012, whose windows are 11×11 and in colour, they became edges and stripes in all
directions on one card, and blobs of colour on the other. Nobody had asked for that. Compare the kernels that you wrote down
by hand in 04-conv-gemm. Do you find edges here?
"""

# %% uses="network small progress"
kernels = model.get_weights()[0][:, :, 0]                   # (7, 7, 16)
figure, axes = plots.figure(9, 1.9, rows=2, columns=16)
for q in range(16):
    change = kernels[..., q] - began[:, :, 0, q]
    for axis, picture in zip(axes[:, q], (kernels[..., q], change), strict=True):
        limit = np.abs(picture).max()
        axis.imshow(picture, cmap="PuOr", vmin=-limit, vmax=limit)
        axis.set_axis_off()
figure

# %% [markdown] slide="slide"
r"""
## 8. Take layers away

- Krizhevsky et al. report that AlexNet, without any one of its middle layers, is right about 2 % less often at its first guess.
- Fergus (2013, the lecture's figure) removed layers in sets. The dense fc6 and fc7 hold most of the weights; conv3 and
  conv4 hold few. Removing either pair hurt a little. **Removing both pairs hurt badly.**
- So it was not the number of weights that mattered, but the number of layers.

Is that a law? You have a network, pictures, and a way to remove layers. What you do not have is ImageNet.

*A. Krizhevsky et al., 2012; M. Zeiler, R. Fergus, 2013; V. Codreanu, SURFsara / PRACE, 2018*
"""

# %% [markdown]
r"""
In your table a layer is a row, and `np.delete` removes rows. The next layer then reads whatever comes in. Before you run
the cell, write down your guess: **by how much does the accuracy fall if conv3, conv4, fc6 and fc7 go, half of the layers?**

One run says little: another random beginning gives another accuracy. So each network is trained from three beginnings, three
*seeds*. To take less than a minute, these are short: 2000 pictures, 4 epochs. Change `gone` to what interests you; runs
that are done already are not repeated.
"""

# %%
gone = {"all eight layers": [],                           # rows of `small`
        "without conv3, conv4, fc6, fc7": [4, 5, 7, 8]}
seeds, done = (1, 2, 3), {}

# %% uses="parameters network small progress"
tables = {name: np.delete(small, rows, axis=0) for name, rows in gone.items()}
counted = {name: parameters(table, 28, 1).sum() for name, table in tables.items()}

todo = [(name, seed) for seed in seeds for name in gone if (name, seed) not in done]
bar = Bar(max(1, len(todo)) * 4 * 1984, "images")
for name, seed in todo:
    model_now = compiled(tables[name], seed)
    learn(model_now, x_train[:2000], y_train[:2000], 4, bar)
    done[name, seed] = recognised(model_now)
for name in gone:
    shares = [done[name, seed] for seed in seeds]
    print(f"{name:32s} {counted[name]:8,d} weights, recognised:",
          *(f"{share:.1f} %" for share in shares))

# %% [markdown]
r"""
Look at the spread from seed to seed, and at the difference between the networks. Would you bet on the order?

The same experiment at some length lies beside this notebook: seven networks, {{seeds}} seeds each, {{pictures}} pictures,
{{epochs}} epochs, all measured by the same two functions. Each row below is a network, each column a seed.
"""

# %%
import json
from pathlib import Path

record = json.loads(Path("runs.json").read_text(encoding="utf-8"))
runs = np.array([network["accuracy"] for network in record["networks"]])
for network, row in zip(record["networks"], runs, strict=True):
    print(f"{network['name']:22s} {network['parameters']:8,d} weights",
          f"{network['macs'] / 1e6:6.2f} M MACs  ", *(f"{share:6.2f}" for share in row))

# %% [markdown]
r"""
How much of that is luck? For each network compute four numbers:

1. the **mean** over the S seeds;
2. the **standard deviation** of the runs, with $S - 1$ under the root, since the mean comes from the same few numbers;
3. the **loss**: the mean of (first network − this one), *seed by seed*. What a seed does to both networks alike falls out of
   the difference;
4. half the width of the 95 % interval of that loss: $t \cdot s / \sqrt S$, where s is the standard deviation of the
   differences. t is Student's: {{t}} for {{seeds}} seeds. With endless runs it would be 1.96. Few runs make the spread
   uncertain, too, and you pay for that.

A negative loss is a gain. If the interval of a loss contains zero, these runs do not tell the two networks apart.

**Write `ablation`.**
"""

# %% exercise="ablation"
def ablation(runs, t):
    """What each network reaches, and what it loses against the first.

    runs : (V, S) float64, accuracy of V networks from S seeds. t : Student's t.
    Returns (V, 4) float64: mean, standard deviation, mean loss against row 0, half of its
    95 % interval. About 4 lines.
    """
    ### BEGIN SOLUTION
    lost = runs[0] - runs
    half = t * lost.std(1, ddof=1) / runs.shape[1] ** 0.5
    return np.stack([runs.mean(1), runs.std(1, ddof=1), lost.mean(1), half], axis=1)
    ### END SOLUTION

# %% check="ablation"
# Left: the runs. Right: the loss with its interval, expected and yours.
check("ablation")

# %% uses="ablation"
table = ablation(runs, record["t"])
figure, axis = plots.figure(8.5, 3.9)
at = np.arange(len(runs))
axis.axvline(0, color="0.5", lw=1)
for n, row in enumerate(runs):
    axis.plot(runs[0] - row, np.full(len(row), n), ".", color="0.65", ms=8)
axis.errorbar(table[1:, 2], at[1:], xerr=table[1:, 3], fmt="o", capsize=5, lw=2, ms=9)
labels = [f"{network['name']}\n{network['parameters'] / 1e3:,.0f} k weights,"
          f" {network['macs'] / 1e6:.1f} M MACs" for network in record["networks"]]
axis.set_yticks(at, labels, fontsize=9)
axis.invert_yaxis()
axis.set(xlabel=f"points of accuracy lost against {table[0, 0]:.1f} % (right is worse)",
         title="What is lost, with 95 % intervals")
figure

# %% [markdown] slide="slide"
r"""
## What was lost

![Loss of accuracy of each network, with intervals](figures/depth.svg)

**Where an interval holds zero, these runs show nothing.** {{pictures}} pictures of clothing, {{epochs}} epochs, {{seeds}} seeds.
{{here}}
"""

# %% [markdown]
r"""
Now compare with the guess that you wrote down. Without four of its eight layers the network has a loss of {{four_lost}}
points. Even conv1 and fc8 alone, with {{two_macs}} % of the work, have one of {{two_lost}}; less than zero is a gain. That is
no mistake. Depth is not free: every layer has to be trained *through* the layers above it, dropout slows it down further,
and these networks saw each picture {{epochs}} times where AlexNet saw it 90 times. Ten kinds of clothing in 28×28 grey
pixels need less than a thousand kinds of things in colour. **A result about layers is a result about layers, data and
training together.** The lecture's experiment holds for ImageNet, yours for this. With all 60 000 pictures of Fashion-MNIST
(`./course data fetch fashion-mnist`, once) the whole network recognises {{all_accuracy}} % of 10 000 new ones after
{{all_epochs}} epochs: the mean of {{all_seeds}} seeds, give or take {{all_spread}}. 07-resnet is about what happens when one
goes on stacking layers.

The last two rows are not about depth. They remove an idea: dropout, or the ReLU. The paper has a picture of the second: on
small photographs, a network with ReLU came down to 25 % error on its training pictures six times as fast as one with tanh.
Is it so here? Look at the whole road, and not only at its end.
"""

# %%
figure, axis = plots.figure(7.5, 3.6)
styles = {"all eight layers": "o-", "tanh for ReLU": "s--", "without dropout": "^:"}
for network in record["networks"]:
    if network["name"] in styles:
        curve = np.array(network["curves"])                 # (seeds, epochs)
        steps = np.arange(1, curve.shape[1] + 1)
        axis.errorbar(steps, curve.mean(0), curve.std(0, ddof=1), fmt=styles[network["name"]],
                      capsize=3, label=network["name"])
axis.set(xlabel="epoch", ylabel="test pictures recognised, %", xticks=steps,
         title="ReLU, tanh, dropout: mean and spread over seeds")
axis.legend(fontsize=10)
figure

# %% [markdown]
r"""
Where the curves still rise, the order is an order of *speed*: who is ahead after so many steps, not who will be ahead.
Without dropout the network leads at first. Then it begins to learn its pictures by heart, its curve falls, and the others
overtake it: dropout pays late. And a network whose weights begin at the right size does not need ReLU to get going: that
was found after 2012. What ReLU kept is that it costs next to nothing, and that its gradient does not fade, however many
layers there are.
"""

# %% [markdown] slide="slide"
r"""
## Which layer would you give back?

| taken away | weights left | work left | points lost |
|---|---|---|---|
| nothing ({{full}} %) | 100 % | 100 % | 0 |
| conv3, conv4 | {{conv_weights}} % | {{conv_macs}} % | {{conv_lost}} |
| fc6, fc7 | {{dense_weights}} % | {{dense_macs}} % | {{dense_lost}} |
| all four | {{four_weights}} % | {{four_macs}} % | {{four_lost}} |

Later networks gave back the dense layers: GoogLeNet and ResNet end in an average and one dense layer.
"""

# %% [markdown]
r"""
**Explain.** You are asked to bring this network to a telephone, twice: once it has to fit into a fifth of the memory, once
it has to answer in three quarters of the time. Which layers do you take away in each case, and why are they not the same? Use your own
counts. Then read the table of losses with its intervals: name a difference that these runs show, and one that they do not
show. And why may AlexNet on ImageNet behave differently? Five to eight sentences.
"""

# %% [markdown] manual="explain_depth"
r"""
Memory is in the dense layers, time in the convolutions. Without fc6 and fc7 {{dense_weights}} % of the weights are left, but
still {{dense_macs}} % of the work: it fits, and is hardly faster. Without conv3 and conv4 {{conv_macs}} % of the work is left,
but {{conv_weights}} % of the weights: faster, and nearly as large as before. In AlexNet it is the same, only more so: 96 % of
the weights and 8 % of the work are dense. The runs give a loss of {{dense_lost}} points without fc6 and fc7, and of
{{conv_lost}} without conv3 and conv4. {{shown}} So I would take the dense layers away for memory and measure the rest again
with more seeds. ImageNet has a thousand classes and 1.2 million larger pictures in colour, seen 90 times: more to learn, enough
to learn it from, and time to train what is deep. There layers pay which here bring nothing.
"""

# %% [markdown] slide="slide"
r"""
## What to take home

**Weights and work live in different layers: in AlexNet 96 % of the weights are dense and 92 % of the work is convolution.
So memory and time are two problems, with two answers. Count before you cut, fuse what only moves numbers, and do not
believe a difference between two networks until it is larger than the difference between two seeds.**
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

- A. Krizhevsky, I. Sutskever, G. Hinton: *ImageNet Classification with Deep Convolutional Neural Networks* (2012). Eight
  pages; look for the two towers in its second figure, and for the filters in its third.
- A. Krizhevsky: *One Weird Trick for Parallelizing Convolutional Neural Networks* (2014). Several cards share out the pictures
  for the convolutions, and the weights for the dense layers: from the very counts of this lab.
- M. Zeiler, R. Fergus: *Visualizing and Understanding Convolutional Networks* (2013). What the layers see, and the
  experiment that takes them away.
- V. Codreanu: *Introduction to High-Performance Machine Learning: Convolutional Neural Networks* (SURFsara / PRACE, 2018).
  The lecture behind this lab.
"""
