# %% [markdown] slide="slide"
r"""
# A first convolutional network

The network of 02-neuron recognises {{dense_still}} of 100 pieces of clothing. Move every picture by two pixels, a
fourteenth of its width, and it recognises {{dense_moved}}. To you nothing has happened: **a boot two pixels to the right
is still a boot**. To that network everything has happened, because each of its 784 inputs now brings a number that
belonged to another one.

LeNet-5, which read cheques in the 1990s, has {{fewer}} % *fewer* numbers to learn than that network, and does {{more}}
times as much arithmetic with them. What do two pixels do to it?
"""

# %% [markdown]
r"""
*You will*

- make pictures smaller without losing what is in them, and do it {{pool_gain}} times as fast as the loops that say it;
- work out how much of a picture a single number deep inside a network has seen;
- count what a network has to learn, and what it has to do, by hand; Keras has to agree, digit by digit;
- build LeNet-5 in Keras, train it until it recognises {{lenet_still}} of 100 pieces of clothing, and look at what it has learned;
- predict what two pixels do to it, measure it, and say where in the network the answer is decided.

About 75 minutes. You need minibatches, loss and training from 02-neuron, and convolutions, strides and views from
04-conv-gemm.
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, data, plots, predict, widgets

hpml.lab("05-lenet")

# %% [markdown] slide="notes"
r"""
Ask what the new network will recognise of the moved pictures, and write the guesses on the board; they come back near the
end. Most people say "all of them, that is what convolutions are for". Numbers: means of {{seeds}} networks each,
{{here}}.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## The network in one picture

![LeNet-5: two convolutions, two poolings, three dense layers](figures/lenet.svg)

- convolve, apply a nonlinearity, make the picture smaller; twice
- then a dense network on the 400 numbers that are left
- as a formula, for one stage: x[C×H×W] → w[K×C×k×k], nonlinearity, pooling → K×H/2×W/2

*Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, 1998; V. Codreanu, SURFsara / PRACE, 2018*
"""

# %% [markdown] slide="slide"
r"""
## 1. A smaller bird is still a bird

Subsampling does not change what is in a picture. Four ways to keep one number of four, again and again: which do you
still recognise?
"""

# %%
fashion = data.load("fashion-mnist-mini")
x_train = fashion.x_train.astype(np.float32) / 255
x_test = fashion.x_test.astype(np.float32) / 255
y_train, y_test = fashion.y_train, fashion.y_test


def quarters(x):
    """The four numbers of each window of 2×2, along a new first axis."""
    return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])


ways = {
    "every other pixel": lambda x: quarters(x)[0],
    "mean of four": lambda x: quarters(x).mean(0),
    "largest of four": lambda x: quarters(x).max(0),
    "smallest of four": lambda x: quarters(x).min(0),
}
shown = x_train[[np.flatnonzero(y_train == label)[3] for label in (8, 5)]]     # a bag, a sandal
figure, axes = plots.figure(9, 4.4, rows=4, columns=6)
for row, (name, smaller) in zip(axes, ways.items(), strict=True):
    half = smaller(shown)
    for n, x in enumerate((shown, half, smaller(half))):
        for place, picture in zip((n, n + 3), x, strict=True):
            row[place].imshow(picture[:, :, 0], cmap="gray_r", vmin=0, vmax=1)
            row[place].set_xticks([])
            row[place].set_yticks([])
            row[place].grid(False)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
for place, side in enumerate((28, 14, 7) * 2):
    axes[0, place].set_title(f"{side}×{side}", fontsize=10)
figure

# %% [markdown] only="slides" slide="fragment"
r"""
![A bag and a sandal, made smaller in four ways](figures/smaller.svg)

*V. Codreanu, SURFsara / PRACE, 2018*
"""

# %% [markdown]
r"""
At 14×14 you lose next to nothing. At 7×7 it depends on the way; look at the handle of the bag. Thin things fall apart where
every other pixel is kept, vanish where the smallest of four is, and survive where the *largest* is. So keep the largest.

In a network it is not grey values that are made smaller but *feature maps*: the outputs of a convolution, one picture for
each of its channels. A large number there says *here is what I look for*. Keeping the largest of four then says *it is
somewhere around here*. That is called **max pooling**, and it does three things at once:

- a quarter of the numbers is left, for every layer to come;
- what is found may move a little, and the answer stays the same;
- every number of the next layer sees a larger part of the picture.
"""

# %% [markdown] slide="slide"
r"""
## Max pooling

$$y[n,h,w,c] \;=\; \max_{0 \le i,\,j < k} \; x[n,\; h\,s+i,\; w\,s+j,\; c]$$

- a window of k×k, and the next one begins s pixels further on: s is the **stride**
- each channel for itself; nothing to learn
- $H' = \lfloor (H-k)/s \rfloor + 1$ rows; what does not fill a window is left out
- usual: k = s = 2. LeNet's of 1998 took means. AlexNet, in the next lab, has k = 3 and s = 2: windows that overlap
"""

# %% [markdown]
r"""
Here it is as one would write it at first: three loops, and NumPy's maximum of each window. Your answer is measured
against it, exactly as it stands.
"""

# %%
def window_by_window(x, k, s):
    """Three loops: pictures, rows and columns of the output; NumPy's maximum of each window."""
    N, H, W, C = x.shape
    y = np.empty((N, (H - k) // s + 1, (W - k) // s + 1, C), x.dtype)
    for n in range(N):
        for r in range(y.shape[1]):
            for q in range(y.shape[2]):
                y[n, r, q] = x[n, r * s:r * s + k, q * s:q * s + k].max(axis=(0, 1))
    return y

# %% [markdown]
r"""
**Write `pool`**, for any window and stride. You know one way from 04-conv-gemm: a view of all windows, and its maximum
along two of six axes. There is another way to see it. Put all the *first* numbers of the windows side by side: that is a
picture, cut out of x with steps of s. So are all the second ones, the third ones, …

Both are right. One of them lets NumPy run along the channels, many numbers at a stretch. Your answer is measured twice:
against the loops, and against TensorFlow's own pooling.
"""

# %% exercise="pool"
def pool(x, k, s):
    """The largest number of each window of k×k; windows begin s pixels apart.

    x : (N, H, W, C) float32. Returns (N, (H-k)//s+1, (W-k)//s+1, C) float32.
    About 7 lines. Hint: np.maximum(a, b) compares two whole pictures.
    """
    ### BEGIN SOLUTION
    N, H, W, C = x.shape
    rows, columns = (H - k) // s + 1, (W - k) // s + 1
    y = np.full((N, rows, columns, C), -np.inf, x.dtype)
    for i in range(k):
        for j in range(k):
            shifted = x[:, i:i + s * rows:s, j:j + s * columns:s]
            np.maximum(y, shifted[:, :rows, :columns], out=y)
    return y
    ### END SOLUTION

# %% check="pool"
# One channel of x with a window in it, the result expected, yours, and where they differ.
check("pool")

# %% [markdown]
r"""
Does it keep what it promises? A sandal and the same sandal one pixel to the right: what share of the picture is different,
before and after pooling? 1.0 would be as different as two sandals are on average.
"""

# %% uses="pool"
sandals = x_train[y_train == 5][:400]
right = np.roll(sandals, 1, axis=2)
for name, a, b in (("pixels", sandals, right),
                   ("pooled once", pool(sandals, 2, 2), pool(right, 2, 2)),
                   ("pooled twice", pool(sandals, 4, 4), pool(right, 4, 4))):
    moved, others = np.abs(a - b).mean(), np.abs(a - a[::-1]).mean()
    print(f"{name:13s} {a[0].size:4d} numbers, difference {moved / others:.2f}")

# %% [markdown]
r"""
The move is not gone, but it has become smaller compared with what tells one sandal from another. Pooling does not make a
network blind to where things are. It makes it short-sighted, a little more at every stage.

## 2. What has one number seen?

Take a number somewhere in a network. The pixels that it depends on are its **receptive field**. After a first convolution
with a window of 5 it is 5×5 pixels. After pooling, 6×6: the largest of four neighbours, each of which has seen 5×5.

**Predict.** LeNet goes on with another convolution of window 5, and another pooling with window 2 and stride 2. How many
pixels *wide* is the receptive field of one number then?
"""

# %% predict="sees"
predict("sees", 16)

# %% [markdown]
r"""
Now look. Point at a number in any layer, and see what it has read in all the layers before. With the boxes you change
windows and strides. Try two convolutions of window 3 against one of window 5. Then take the strides out, and see how much
deeper the same field would have to be.
"""

# %%
boot = x_train[y_train == 9][0, :, :, 0]
widgets.receptive_field([(5, 1), (2, 2), (5, 1), (2, 2)], picture=boot)

# %% check="sees"
check("sees")

# %% [markdown] only="slides" slide="slide"
r"""
## What has one number seen?

![A number after the second pooling, and what it has read in each layer before](figures/field.svg)

Windows make the field wider. **Strides make it wider *faster*: from then on every window counts for more pixels.**
"""

# %% [markdown]
r"""
Two numbers describe every layer. Its *step* j: how many pixels of the picture lie between what two neighbours see. Its
*size* r: how many pixels wide the field is. Before the first layer, a pixel sees itself: $r_0 = 1$, $j_0 = 1$. A window of
k reaches k − 1 neighbours further, and these are $j_{l-1}$ pixels apart. A stride of s leaves out neighbours:

$$r_l \;=\; r_{l-1} + (k_l - 1)\; j_{l-1}, \qquad\qquad j_l \;=\; j_{l-1}\; s_l .$$

(A border of zeros changes neither; it only moves the field towards the edge.)

**Write `receptive_field`**, for any stack of layers with windows.
"""

# %% exercise="receptive_field"
def receptive_field(kernels, strides):
    """How far one output sees, after every layer of a stack.

    kernels, strides : (L,) int64, the window and the stride of each layer.
    Returns the tuple (sizes, steps), each (L,) int64, in pixels. About 7 lines.
    """
    ### BEGIN SOLUTION
    size, step, sizes, steps = 1, 1, [], []
    for k, s in zip(kernels, strides, strict=True):
        size = size + (k - 1) * step
        step = step * s
        sizes.append(size)
        steps.append(step)
    return np.array(sizes), np.array(steps)
    ### END SOLUTION

# %% check="receptive_field"
# For each layer: the pixels that an output (dark) and its neighbour (light) read.
check("receptive_field")

# %% [markdown]
r"""
How deep does a network have to be until one number has seen a whole photograph of 224×224?
"""

# %% uses="receptive_field"
stacks = {
    "windows of 3": [(3, 1)] * 120,
    "windows of 5": [(5, 1)] * 120,
    "windows of 3, each followed by pooling": [(3, 1), (2, 2)] * 10,
    "windows of 5, each followed by pooling": [(5, 1), (2, 2)] * 10,
}
for name, stack in stacks.items():
    sizes = receptive_field(*np.array(stack).T)[0]
    print(f"{name:40s} {np.argmax(sizes >= 224) + 1:4d} layers")

# %% [markdown] slide="slide"
r"""
## 3. What has to be learned, what has to be done

A convolution with windows of k×k, from C to K channels, on an output of H'×W':

$$\text{parameters} = k^2 C\,K + K \qquad\qquad \text{MACs} = k^2 C\,K \cdot H' W'$$

A dense layer from C inputs to K neurons:

$$\text{parameters} = C\,K + K \qquad\qquad \text{MACs} = C\,K$$

**Spot the difference.** A MAC is one multiplication and one addition: *multiply and accumulate*, 2 FLOPs.
"""

# %% [markdown]
r"""
A weight of a dense layer is used once for each picture. A weight of a convolution is used at every place. So one kind is
large and lazy, the other small and busy. We leave the additions of the biases and the comparisons of the pooling out, as
everybody does.

Here is LeNet-5, one layer a line. A *border* is the number of zeros around the picture on each side: with two of them a
window of 5 gives 28×28 again. Keras calls that `padding="same"`.
"""

# %% given="layers"
from typing import NamedTuple

LENET = """
conv width=6 window=5 border=2
pool window=2 stride=2
conv width=16 window=5
pool window=2 stride=2
dense width=120
dense width=84
dense width=10
"""


class Layer(NamedTuple):
    """One layer. `width`: output channels of a convolution, neurons of a dense layer."""

    kind: str
    width: int = 0
    window: int = 1
    stride: int = 1
    border: int = 0


def layers(text):
    """The layers of a description, one for each of its lines."""
    lines = [line.split() for line in text.strip().splitlines()]
    return [Layer(kind, **{word.split("=")[0]: int(word.split("=")[1]) for word in words})
            for kind, *words in lines]

# %%
for layer in layers(LENET):
    print(layer)

# %% [markdown]
r"""
**Predict.** A picture goes through LeNet once. How many *per cent* of all MACs are done in the two convolutions?
"""

# %% predict="conv_work"
predict("conv_work", 86)

# %% [markdown]
r"""
**Write `count`**, for any such description. Follow the picture: it has `height` rows, as many columns, and `channels`
channels, and a layer changes them. After a convolution or a pooling there are
$\lfloor (H + 2\cdot\text{border} - k)/s \rfloor + 1$ rows. The first dense layer takes all numbers that are left, in one row.
"""

# %% exercise="count"
def count(text, height, channels):
    """Parameters and multiply-accumulates of every layer, for one picture.

    text : a description. height : rows and columns of the picture. channels : its channels.
    Returns the tuple (parameters, macs), each (L,) int64, zeros for a pooling layer.
    About 16 lines. Use layers.
    """
    ### BEGIN SOLUTION
    parameters, macs = [], []
    for layer in layers(text):
        if layer.kind == "dense":
            weights = height * height * channels * layer.width
            height, channels = 1, layer.width
        else:
            height = (height + 2 * layer.border - layer.window) // layer.stride + 1
            weights = layer.window ** 2 * channels * layer.width       # none in a pooling layer
            channels = layer.width or channels
        places = height * height
        parameters.append(weights + layer.width)
        macs.append(weights * places)
    return np.array(parameters), np.array(macs)
    ### END SOLUTION

# %% check="count"
# Parameters and MACs of each layer, on a logarithmic scale: expected, yours.
check("count")

# %% check="conv_work"
check("conv_work")

# %% uses="count"
parameters, macs = count(LENET, 28, 1)
dense_parameters, dense_macs = count("dense width=128\ndense width=10", 28, 1)
names = [f"{layer.kind} {layer.width}" for layer in layers(LENET)]
learns = [n for n, layer in enumerate(layers(LENET)) if layer.kind != "pool"]

figure, axes = plots.figure(9, 2.6, rows=2)
for axis, values, what in ((axes[0], parameters, "numbers to learn"), (axes[1], macs, "MACs")):
    left = 0
    for n in learns:
        share = 100 * values[n] / values.sum()
        colour = plots.CYCLE[0] if names[n].startswith("conv") else plots.CYCLE[4]
        axis.barh(0, share, left=left, color=colour, edgecolor="white", linewidth=2)
        if share > 6:
            axis.text(left + share / 2, 0, f"{names[n]}\n{share:.0f} %",
                      ha="center", va="center", fontsize=10,
                      color="white" if colour == plots.CYCLE[0] else "black")
        left += share
    axis.set_yticks([0], [f"{values.sum():,}\n{what}"])
    axis.set_xlim(0, 100)
    axis.grid(False)
axes[0].set_xticks([])
axes[1].set_xlabel("share, %; blue: convolutions, orange: dense layers")
axes[0].set_title("Where the numbers are, and where the work is")
figure

# %% [markdown] only="slides" slide="slide"
r"""
## Where the numbers are, and where the work is

![Shares of parameters and of MACs, layer by layer](figures/counts.svg)

Convolutions: {{conv_parameters}} % of the parameters, {{conv_macs}} % of the work. In AlexNet, the next lab, it will be
4 % and 92 %. To make a network *small*, look at its dense layers. To make it *fast*, look at its convolutions.
"""

# %% uses="count"
first = 6 * (25 + 1)                                                # C1: 6 maps of 5×5
third = 6 * (3 * 25 + 1) + 9 * (4 * 25 + 1) + 1 * (6 * 25 + 1)  # C3: maps of 3, 4 or 6 channels
print("1998, by hand:", first + 2 * 6 + third + 2 * 16 + 48_120 + 10_164,
      "parameters before the last layer; the paper says 60,000.")
print(f"Ours: {parameters.sum():,}, of which {parameters[-1]} in the last layer.")
print(f"The network of 02-neuron: {dense_parameters.sum():,} parameters,",
      f"{dense_macs.sum():,} MACs.")
print(f"LeNet has {parameters.sum() / dense_parameters.sum():.2f} times its parameters,",
      f"and {macs.sum() / dense_macs.sum():.1f} times its MACs.")

# %% [markdown]
r"""
The LeNet-5 of 1998 differs from ours in a few places. Not every map of its second convolution looked at all six channels:
fewer parameters, and different things for different maps to look at. Its pooling took means, times a weight, plus a bias.
Its nonlinearity was tanh, where ours is ReLU. And its last layer compared with drawings of the ten digits.

## 4. The same in Keras

Keras is a library for networks. You say which layers follow one another, and it makes the weights, the gradients and
the updates. A layer is an object, and a *Sequential* model is a list of them:

```python
model = keras.Sequential([
    keras.Input((28, 28, 1)),                                            # one picture: H, W, C
    keras.layers.Conv2D(8, 3, padding="same", activation="relu"),        # 8 channels, window 3
    keras.layers.MaxPooling2D(2),                                        # window 2, stride 2
    keras.layers.Flatten(),                                              # one row of numbers
    keras.layers.Dense(10),
])
```

Without `padding="same"` the window stays inside the picture. `model(x)` is the forward pass, `model.get_weights()` a list
of arrays: for each layer that has any, first its weights, then its biases.
"""

# %% given="network"
import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras


def network(build):
    """Lets the check look at a network: `build()` makes it, `build(x, *weights)` asks it.

    Then it tells the shapes of the weights that it has, and its outputs for the pictures x with
    the weights given, where these fit.
    """
    @functools.wraps(build)
    def asked(*inputs):
        model = build()
        if not inputs:
            return model
        if not isinstance(model, keras.Model):
            kind = type(model).__name__
            raise TypeError(f"{build.__name__}() returns a Keras model, not a {kind}")
        x, *weights = inputs
        shapes = np.zeros((len(model.weights), 4), np.int64)
        for row, variable in zip(shapes, model.weights, strict=True):
            row[:len(variable.shape)] = variable.shape
        if [tuple(v.shape) for v in model.weights] != [w.shape for w in weights]:
            return shapes, np.zeros((len(x), 10), np.float32)
        model.set_weights(weights)
        return shapes, np.array(keras.ops.convert_to_numpy(model(x, training=False)))
    return asked

# %% [markdown]
r"""
**Write `lenet`**: the seven layers of the description, with ReLU after all that have weights but the last. That one
returns ten *scores*; softmax is left to the loss, as in 02-neuron. The line with `@network` above it lets the check send
weights of its own through your network; you call it as `lenet()`.
"""

# %% exercise="lenet"
@network
def lenet():
    """LeNet-5 for pictures of 28×28 with one channel: a Keras model that returns ten scores.

    About 11 lines.
    """
    ### BEGIN SOLUTION
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(6, 5, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(16, 5, activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(120, activation="relu"),
        keras.layers.Dense(84, activation="relu"),
        keras.layers.Dense(10),
    ])
    ### END SOLUTION

# %% check="lenet"
# The scores of your network for a few pictures, beside ours: the same random weights in both.
check("lenet")

# %% [markdown]
r"""
Does Keras count as you do?
"""

# %% uses="lenet count"
model = lenet()
mine = [n for n in count(LENET, 28, 1)[0] if n]
theirs = [layer.count_params() for layer in model.layers if layer.count_params()]
for layer, by_hand, by_keras in zip([la for la in model.layers if la.weights], mine, theirs,
                                    strict=True):
    print(f"{layer.name:12s} by hand {by_hand:6,}   Keras {by_keras:6,}")
print(f"{'together':12s} by hand {sum(mine):6,}   Keras {model.count_params():6,}")

# %% [markdown]
r"""
And does it see as far as you say? Your formula knows nothing of Keras. So ask the network itself: change one pixel, and
look whether the number in the middle of the second pooling layer changes. Do that for all 784 pixels, in eight different
pictures. `keras.Model(inputs, outputs)` makes a model that ends at a layer of our choice.
"""

# %% uses="lenet receptive_field"
keras.utils.set_random_seed(5)
model = lenet()
pooled = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
deep = keras.Model(model.inputs[0], pooled[1].output)

changes = np.zeros((28, 28))
for picture in np.random.default_rng(5).random((8, 28, 28, 1), dtype=np.float32):
    many = np.repeat(picture[None], 785, axis=0)
    many.reshape(785, 784)[np.arange(784), np.arange(784)] += 1    # the last one stays as it is
    answers = deep.predict(many, verbose=0)[:, 2, 2]                  # (785, 16): in the middle
    changes += np.abs(answers[:784] - answers[784]).mean(1).reshape(28, 28) / 8

rows, columns = np.nonzero(changes)
size = receptive_field(np.array([5, 2, 5, 2]), np.array([1, 2, 1, 2]))[0][-1]
print(f"{np.ptp(rows) + 1}×{np.ptp(columns) + 1} pixels matter;",
      f"your formula says {size}×{size}.")
figure, axis = plots.figure(3.6, 3)
axis.imshow(np.where(changes > 0, changes, np.nan), cmap="viridis")
axis.grid(False)
axis.set_title("How much each pixel matters", fontsize=11)
figure

# %% [markdown]
r"""
White is what cannot matter at all. Inside, pixels in the middle matter most: many windows read them, and each counts.
The formula tells how far a number *can* see. It does not tell how well.

## 5. Training

In 02-neuron you wrote sampling, forward, backward and update. Keras has all four in `fit`, and asks for three decisions:

```python
model.compile(optimizer=keras.optimizers.SGD(0.1),                       # how to make a step
              loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, batch_size=32, epochs=5, verbose=0)
```

- `from_logits=True` says that the network returns scores (*logits*), and that softmax is still to be done.
- `fit` draws a new random order for each epoch.
- `SGD` makes the steps of 02-neuron, `w -= rate * dw`. `Adam` keeps two running means for each weight: of its gradient, and
  of the gradient's square. It divides the one by the root of the other, so that a weight with small gradients still
  moves. `Adam(0.001)` is what most people try first.
- `keras.utils.set_random_seed(seed)` makes the weights and the order repeatable, nearly.
"""

# %% [markdown] slide="slide"
r"""
## Time to accuracy

How fast is a training? Not pictures a second, and not epochs: **the time until it is good enough.**

- larger minibatches: more pictures a second, fewer updates an epoch
- longer steps: fewer updates needed, until they are too long
- another optimizer: each update costs more, fewer are needed

All of these can be measured alone. Only their product counts.
"""

# %% [markdown]
r"""
**Write `train`.** It gets pictures sorted by class, and has to return the weights of a LeNet that recognises at least
{{reach}} % of pictures which it has not seen. All pictures are shifted by up to a pixel and half of them are mirrored, and
the classes are numbered anew in every call, so nothing can be known by heart. Up to three seeds are tried.

Then the clock compares you with a given slow way, on 600 pictures, where {{reach_timed}} % is enough:
`SGD(0.01)`, one picture a step, five epochs. What a training costs before its first step counts, too: Keras traces
and compiles the network when `fit` first sees it. How do you spend the rest?
"""

# %% exercise="train"
def train(x, y, seed):
    """The weights of a LeNet-5 that has learned from these pictures.

    x : (N, 28, 28, 1) float32, 0 to 1, sorted by class. y : (N,) int64. seed : int.
    Returns a tuple of its ten arrays, as get_weights() lists them. About 6 lines. Use lenet.
    """
    ### BEGIN SOLUTION
    keras.utils.set_random_seed(seed)
    model = lenet()
    model.compile(keras.optimizers.Adam(0.003),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=32, epochs=8, verbose=0)
    return tuple(model.get_weights())
    ### END SOLUTION

# %% check="train"
# What share of each class our network recognises, and what share yours. Then the verdict.
check("train")

# %% [markdown]
r"""
Now with all 10 000 pictures, and in the open. A *callback* is an object whose methods `fit` calls on its way. Ours moves a
progress bar after each minibatch, and notes down what each epoch has brought.

You can stop the cell at any time (the square in the toolbar, or I, I). Run it again, and it goes on where it stopped. Run the
cell before it, and both networks begin anew.
"""

# %% uses="lenet"
from hpml.progress import Bar


class Progress(keras.callbacks.Callback):
    """Shows loss, pictures a second and time left; keeps the history of the epochs."""

    def __init__(self, history, pictures, epochs, batch):
        super().__init__()
        self.history, self.batch = history, batch
        self.bar = Bar(pictures * (epochs - len(history)), "images")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.advance(self.batch, loss=logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.history.append((logs["accuracy"], logs["val_accuracy"]))


def dense_net():
    """The network of 02-neuron: 784 → 128 → 10."""
    return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(),
                             keras.layers.Dense(128, activation="relu"),
                             keras.layers.Dense(10)])


keras.utils.set_random_seed(1)
models, histories = {"LeNet-5": lenet(), "dense": dense_net()}, {"LeNet-5": [], "dense": []}
for model in models.values():
    model.compile(keras.optimizers.Adam(0.002), metrics=["accuracy"],
                  loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))

# %% uses="lenet"
epochs = 10
for name, model in models.items():
    if len(histories[name]) < epochs:
        print(name)
        progress = Progress(histories[name], len(x_train), epochs, batch=64)
        model.fit(x_train, y_train, batch_size=64, epochs=epochs, verbose=0,
                  initial_epoch=len(histories[name]), validation_data=(x_test, y_test),
                  validation_batch_size=500, callbacks=[progress])

# %% uses="lenet"
figure, axis = plots.figure(7, 3.6)
for (name, history), colour in zip(histories.items(), plots.CYCLE, strict=False):
    seen, new = 100 * np.array(history).T
    there = range(1, len(seen) + 1)
    axis.plot(there, new, "o-", color=colour, ms=5,
              label=f"{name}, new pictures: {new[-1]:.1f} %")
    axis.plot(there, seen, ":", color=colour, lw=1.6, label=f"{name}, pictures it learns from")
axis.set(xlabel="epoch", ylabel="recognised, %",
         title="Fewer numbers, more work, better answers")
axis.legend(fontsize=10)
figure

# %% [markdown]
r"""
Pictures that are held back to watch a training are called *validation data*. Solid lines count. Where the dotted line
goes on rising and the solid one does not, the network learns by heart. More pictures help: from all 60 000 of
Fashion-MNIST (`./course data fetch fashion-mnist`, once) LeNet-5 learns to recognise {{all_accuracy}} % of 10 000 new ones in
{{all_epochs}} epochs, the mean of {{all_seeds}} seeds, give or take {{all_spread}}.

## 6. What has it learned?

The first convolution has six kernels of 5×5. We can look at them, at what they make of a picture, and at what comes out
of the second stage.
"""

# %% uses="lenet"
model = models["LeNet-5"]
convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
looks = keras.Model(model.inputs[0], [layer.output for layer in convolutions])
kernels = convolutions[0].get_weights()[0][:, :, 0]                     # (5, 5, 6)
something = x_test[[np.flatnonzero(y_test == label)[1] for label in (9, 3)]]   # a boot, a dress
early, late = (keras.ops.convert_to_numpy(maps) for maps in looks(something))

figure, axes = plots.figure(9, 5, rows=5, columns=7)
limit = np.abs(kernels).max()
for axis in axes.flat:
    axis.set_axis_off()
for q in range(6):
    axes[0, q + 1].imshow(kernels[:, :, q], cmap="PuOr", vmin=-limit, vmax=limit)
for n, picture in enumerate(something):
    axes[2 * n + 1, 0].imshow(picture[:, :, 0], cmap="gray_r")
    busy = np.argsort(-late[n].sum((0, 1)))
    for q in range(6):
        axes[2 * n + 1, q + 1].imshow(early[n, :, :, q], cmap="magma")
        axes[2 * n + 2, q + 1].imshow(late[n, :, :, busy[q]], cmap="magma")
axes[0, 0].text(1, 0.5, "kernels", ha="right", va="center", transform=axes[0, 0].transAxes)
for n in (2, 4):
    axes[n, 0].text(1, 0.5, "second\nconvolution", ha="right", va="center",
                    transform=axes[n, 0].transAxes)
figure

# %% [markdown] only="slides" slide="slide"
r"""
## Six kernels, and what they see

![Kernels and feature maps of a trained LeNet-5](figures/maps.svg)

Nobody designed these. In 04-conv-gemm gradient descent found *one* edge filter, because we had shown it the edges. Here it
was shown labels only.
"""

# %% [markdown]
r"""
Orange is positive, violet negative. Do you find an edge detector among the kernels, and in which direction? In the maps of
the second convolution you can no longer say what is looked for. But boot and dress light up different places of
different maps, and that is all that the dense layers need.

## 7. Two pixels

We train on pictures as they are. Now we test on pictures that are moved to the left, to the right, up and down.

**Predict.** Your LeNet recognises about {{lenet_still}} % of new pictures. How many *per cent* will it still recognise
when each of them is moved by two pixels? Remember the dense network: from {{dense_still}} to {{dense_moved}}.
"""

# %% predict="moved"
predict("moved", 75)

# %% uses="lenet"
def shifted(x, down, right):
    """Pictures moved by so many pixels, zeros where nothing comes in."""
    padded = np.pad(x, ((0, 0), (6, 6), (6, 6), (0, 0)))
    return padded[:, 6 - down:34 - down, 6 - right:34 - right]


def recognised(model, x):
    """Share of the test pictures whose right class has the highest score, per cent."""
    return 100 * float((model.predict(x, batch_size=500, verbose=0).argmax(1) == y_test).mean())


distances = range(7)
ways = [(1, 0), (-1, 0), (0, 1), (0, -1)]
curves = {name: np.array([[recognised(model, shifted(x_test, d * a, d * b)) for a, b in ways]
                          for d in distances]) for name, model in models.items()}

figure, axis = plots.figure(7, 3.8)
for (name, found), colour, mark in zip(curves.items(), plots.CYCLE, "os", strict=False):
    axis.plot(distances, found.mean(1), mark + "-", color=colour, label=name)
    axis.fill_between(distances, found.min(1), found.max(1), color=colour, alpha=0.15)
axis.axhline(10, color="0.5", ls="--", lw=1)
axis.annotate("guessing", (0, 12), fontsize=10)
axis.set(xlabel="moved by, pixels", ylabel="recognised, %", ylim=(0, 100),
         title="A boot two pixels to the right")
axis.legend(title="mean of four directions; band: worst to best", fontsize=10)
figure

# %% check="moved"
check("moved")

# %% [markdown] only="slides" slide="slide"
r"""
## Two pixels

![Recognised pictures over the distance they were moved](figures/moved.svg)

Trained on pictures as they are, tested on moved ones; means of {{seeds}} networks, bars: their standard deviation. At two
pixels LeNet-5 recognises {{lenet_moved}} %, the dense network {{dense_moved}} %.
"""

# %% [markdown] slide="notes"
r"""
Go back to the guesses. A convolution moves its maps with the picture; pooling makes the move smaller; the first dense layer has
one weight for each place and knows where things were. What would help? Moved pictures in the training, or the mean of each map.
"""

# %% [markdown]
r"""
Better by far, and not good. Wasn't a convolution the same at every place? It is: move the picture by four pixels, and the
*maps* move with it, number by number. But the scores are no map. So where in the network does a move begin to matter? Take
each layer's numbers for a picture and for the same picture moved by two pixels, and compare their difference with that of
two different pictures. 0 would be *does not notice*, 1 *as strange as another picture*.
"""

# %% uses="lenet"
for name, model in models.items():
    inner = [layer for layer in model.layers if not isinstance(layer, keras.layers.Flatten)]
    layers_out = keras.Model(model.inputs[0], [layer.output for layer in inner])
    here = [x_test[:500], *layers_out(x_test[:500])]
    there = [shifted(x_test[:500], 0, 2), *layers_out(shifted(x_test[:500], 0, 2))]
    print(name)
    for layer, a, b in zip(["picture", *(la.name.split("_")[0] for la in inner)], here, there,
                           strict=True):
        a, b = (keras.ops.convert_to_numpy(values).reshape(500, -1) for values in (a, b))
        moved = np.linalg.norm(a - b, axis=1).mean()
        other = np.linalg.norm(a - a[::-1], axis=1).mean()
        print(f"   {layer:8s} {a.shape[1]:5d} numbers, two pixels: {moved / other:.2f}")

# %% [markdown]
r"""
**Explain.** Why does LeNet suffer less from two pixels than the dense network, and why does it suffer at all? Name what each
kind of layer (convolution, pooling, dense) does with a move, and where in LeNet the place of a thing is finally learned
by heart. Then: what would you change, in the network or in its training, to make it suffer less, and what would that
cost? Use numbers of your plots and tables. Four to eight sentences.
"""

# %% [markdown] manual="explain_moved"
r"""
A dense layer has one weight for each place, so a picture moved by two pixels goes through other weights: the dense network
falls from {{dense_still}} to {{dense_moved}} %. A convolution uses the same weights everywhere: its maps move with the
picture and are otherwise unchanged, so what was found is found again, two pixels further. Each pooling halves the
distance: after the second, two pixels are half a step of 4 pixels, and where the largest number stays in its window nothing
changes. So LeNet falls only to {{lenet_moved}} %. It falls at all because the maps end in a dense layer with 48 120
parameters, one weight for each of 5×5 places: there, LeNet learns by heart where things are, just as the dense network does,
only on a coarser grid. The distances of my table say the same: each pooling makes
the move count for less, the convolutions leave it nearly as it is, and a good part of it arrives at the dense layers.
I would train with pictures that are moved at random: no parameter more, but more epochs, since each picture has to be seen
in many places. Or I would replace the first dense layer by the mean over all places of each map: it does not notice moves
that stay inside the picture, and saves most of the parameters, but it forgets where things are, which costs some accuracy
on pictures that are not moved.
"""

# %% [markdown]
r"""
## 8. What it costs

One picture in a batch of 256, forward, as the two networks do it in Keras. MACs are not time: what does each network make of
the arithmetic that it asks for?
"""

# %% uses="lenet count"
import time

work = {"LeNet-5": macs.sum(), "dense": dense_macs.sum()}
for name, model in models.items():
    forward = keras.ops.convert_to_tensor(x_test[:256])
    spent = []
    for _ in range(12):
        begin = time.perf_counter()
        model.predict_on_batch(forward)
        spent.append(time.perf_counter() - begin)
    one = float(np.median(spent[2:])) / 256
    print(f"{name:8s} {model.count_params():7,} parameters  {work[name]:7,} MACs"
          f"  {one * 1e6:6.1f} µs a picture  {2 * work[name] / one / 1e9:6.1f} GFLOP/s")

# %% [markdown] slide="slide"
r"""
## What to take home

**A convolution uses a few weights many times, a dense layer many weights once: so the numbers to learn sit in one, and the
work in the other. Pooling makes pictures smaller, every field of view larger, and small moves smaller still. What a network
knows about *place* is decided where its maps end and its dense layers begin.**
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

- Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: *Gradient-Based Learning Applied to Document Recognition* (1998). LeNet-5 is in
  section II; the rest reads whole cheques.
- W. Luo, Y. Li, R. Urtasun, R. Zemel: *Understanding the Effective Receptive Field in Deep Convolutional Neural Networks*
  (2016). Why pixels in the middle matter most.
- R. Zhang: *Making Convolutional Networks Shift-Invariant Again* (2019). What strides do to moved pictures, and a remedy.
- V. Codreanu: *Introduction to High-Performance Machine Learning: Convolutional Neural Networks* (SURFsara / PRACE, 2018). The
  lecture behind this lab.
"""
