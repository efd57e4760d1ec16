# %% [markdown] slide="slide"
r"""
# Why depth stopped helping, and how it came back

Here is a network of 20 layers that works. Put 36 more layers into it. They need not be of use: if each of them hands on
what it gets, the network is as good as before. But trained on the same pictures in the same way, the network of 56
layers errs on {{plain56}} % **of the very pictures that it learns from**, and the one of 20 layers on {{plain20}} %.

Add a plus sign to every second layer. It brings no weight and no multiplication. The 56 layers now err on
{{residual56}} %.
"""

# %% [markdown]
r"""
*You will*

- put an inception block together, and predict what it saves to look through a narrow window first;
- count the parameters and multiplications of real models to the last digit, and find out what a lecture's "GFLOPS" are;
- write batch normalisation and the residual block, and build ResNet-20 to its specification;
- train plain and residual networks, and say what the experiment rules out;
- make batch normalisation disappear, and measure what that gains.

About 90 minutes. You need 06-alexnet, and from 01-measuring the roofline. A MAC is one multiplication and one addition,
a *multiply-accumulate*; two FLOPs.
"""

# %% given="preamble"
import json

import numpy as np

# %%
import hpml
from hpml import check, data, plots, predict, widgets

hpml.lab("07-resnet")

# %% given="framework"
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")      # the backend's log: errors only
import keras
from keras import layers, ops

# %%
machine = hpml.machine()
machine

# %% [markdown] slide="notes"
r"""
Ask for guesses first: better, equal, or worse? Nearly everybody says "better on the training pictures, worse on new
ones". Errors are means over three seeds after five epochs of Fashion-MNIST at 14×14 pixels, {{here}}. He et al. saw the
same in 2015 on ImageNet, and on CIFAR-10: 50 000 photographs of 32×32 pixels, of ten kinds of things.
"""

# %% [markdown] slide="slide"
r"""
## 1. Deep and narrow: VGG

- AlexNet's first window has 11×11 pixels. VGG (2014) uses 3×3, everywhere.
- Two 3×3 convolutions, one after the other, see 5×5 pixels. Three see 7×7.
- With C channels: $2\cdot 9\,C^2 = 18\,C^2$ weights in place of $25\,C^2$, and one more ReLU on the way.
- So: small windows, many layers. 16 or 19 of them, in blocks; each block has half the height and width of the last.

*K. Simonyan, A. Zisserman, 2014; V. Codreanu, SURFsara / PRACE, 2018*
"""

# %% [markdown]
r"""
What a number in a late layer has seen of the picture is its *receptive field*. Each 3×3 layer adds one pixel on every
side of it. That is all the theory behind VGG, and it worked: with 19 layers it made about half of AlexNet's errors, and came
second in ImageNet's competition of 2014. It also costs, as we are going to count.

## 2. Look through a narrow window first: inception

GoogLeNet, which came first, asks: why should one have to choose between 1×1, 3×3 and 5×5? It takes all of them side by
side, and puts their channels one behind the other:

![Four branches side by side, concatenated](figures/inception.svg)

A *1×1 convolution* looks at one pixel only. It is a dense layer over the channels, the same for each pixel: out of 192
channels it can make 16. That is what the narrow boxes in front of 3×3 and 5×5 are for. They are called *bottlenecks*.

**Predict.** Pictures of 28×28 with 192 channels, 5×5, 32 channels out. In GoogLeNet a 1×1 convolution to 16 channels
comes first. How many times fewer multiplications is that, both convolutions together, than 5×5 alone?
"""

# %% predict="bottleneck_saving"
predict("bottleneck_saving", 9.7)

# %% check="bottleneck_saving"
check("bottleneck_saving")

# %% [markdown] slide="slide"
r"""
## 2. Inception: all windows at once, through a bottleneck

![Four branches side by side, concatenated](figures/inception.svg)

5×5, 192 → 32 channels: 153 600 multiplications a pixel. Through 16 channels: 15 872. Paid with one more layer.

*C. Szegedy et al., Going Deeper with Convolutions, 2015*
"""

# %% [markdown]
r"""
**Write `inception`** with Keras' operations. There are four branches:

1. 1×1;
2. 1×1, then 3×3;
3. 1×1, then 5×5;
4. the largest of 3×3 pixels, then 1×1.

*Every* convolution is followed by a ReLU. All branches keep the height and width of the picture: padding is `"same"`,
also for the pooling, whose stride is 1. In this order they are concatenated along the channels. You need `ops.conv(x, w,
padding=…)`, `ops.relu`, `ops.max_pool(x, size, strides=…, padding=…)` and `ops.concatenate(list, axis=…)`. None of them
asks which framework is behind Keras, or whether there is a GPU.
"""

# %% exercise="inception"
def inception(x, w1, w3_in, w3, w5_in, w5, w_pool):
    """An inception block.

    x : (N, H, W, C) float32. The kernels are (k, k, channels in, channels out), float32.
    Returns a NumPy array (N, H, W, channels of the four branches together). About 7 lines.
    """
    ### BEGIN SOLUTION
    def conv(x, w):
        return ops.relu(ops.conv(x, w, padding="same"))

    pooled = ops.max_pool(x, 3, strides=1, padding="same")
    branches = [conv(x, w1), conv(conv(x, w3_in), w3), conv(conv(x, w5_in), w5),
                conv(pooled, w_pool)]
    return ops.convert_to_numpy(ops.concatenate(branches, axis=-1))
    ### END SOLUTION

# %% check="inception"
# Red lines part the four branches. Expected, yours, and the difference; then the verdict.
check("inception")

# %% [markdown]
r"""
## 3. What does it cost?

You will hear that a model "has 20 GFLOPS". Per picture? Per second? Does a multiplication with its addition count once or
twice? One way to know is to count. `describe` makes a list of a Keras model's layers, as JSON text.
"""

# %%
def describe(model):
    """The layers of a Keras model that have weights, as JSON: a list of dictionaries."""
    rows = []
    for layer in model.layers:
        if not layer.weights:
            continue
        kind, shape = type(layer).__name__, layer.input.shape
        row = {"kind": kind, "in": list(shape[1:]), "out": list(layer.output.shape[1:])}
        if kind == "Conv2D":
            row |= {"kernel": list(layer.kernel_size), "groups": layer.groups}
        if kind in ("Conv2D", "Dense"):
            row |= {"bias": layer.use_bias}
        if kind == "BatchNormalization":
            row |= {"scale": layer.scale, "center": layer.center}
        rows.append(row)
    return json.dumps(rows)


example = keras.Sequential([
    keras.Input((28, 28, 8)),
    layers.Conv2D(32, 3, padding="same", groups=2, use_bias=False),
    layers.BatchNormalization(),
    layers.GlobalAveragePooling2D(),
    layers.Dense(10),
])
for row in json.loads(describe(example)):
    print(row)

# %% [markdown]
r"""
What each kind has:

- **Conv2D**: a weight for each pixel of the kernel, each input channel *of its group*, and each output channel; a bias for
  each output channel, if `bias`. With `groups` G, each output channel sees one G-th of the input channels (AlexNet on
  two GPUs: G = 2). Each weight is used once for each pixel of the *output*.
- **Dense**: a weight for each input and output, a bias for each output, if `bias`. Each weight is used once.
- **BatchNormalization** (you will write it in section 5): for each channel a scale, if `scale`, and a shift, if `center`.
  These are learned. A moving mean and a moving variance for each channel are *not* trainable.
- Anything else has none. For MACs, convolutions and dense layers count, without their biases; the rest is left out by
  convention.

**Predict.** VGG16 has 16 layers, ResNet-50 has 50. How many times the MACs of ResNet-50 does VGG16 need for a picture?
"""

# %% predict="vgg_over_resnet"
predict("vgg_over_resnet", 4)

# %% [markdown]
r"""
**Write `count`.**
"""

# %% exercise="count"
def count(text):
    """Parameters, trainable parameters, and MACs for one picture.

    text : JSON, a list of layers as describe makes it.
    Returns np.array([parameters, trainable, macs]), int64. About 14 lines.
    """
    ### BEGIN SOLUTION
    parameters = trainable = macs = 0
    for row in json.loads(text):
        inputs, outputs = row["in"][-1], row["out"][-1]
        if row["kind"] == "BatchNormalization":
            learned, moving = outputs * (row["scale"] + row["center"]), 2 * outputs
        elif row["kind"] in ("Conv2D", "Dense"):
            height, width = row.get("kernel", (1, 1))
            weights = height * width * inputs // row.get("groups", 1) * outputs
            macs += weights * int(np.prod(row["out"][:-1]))
            learned, moving = weights + outputs * row["bias"], 0
        else:
            continue
        trainable += learned
        parameters += learned + moving
    return np.array([parameters, trainable, macs])
    ### END SOLUTION

# %% check="count"
# The three numbers, expected and yours. First a small network, then VGG16 and ResNet-50.
check("count")

# %% check="vgg_over_resnet"
check("vgg_over_resnet")

# %% [markdown]
r"""
Now against the real ones. Keras builds three models, whose weights nobody needs here, and says itself how many numbers they
have.
"""

# %% uses="count"
for name in ("VGG16", "ResNet50", "InceptionV3"):
    with keras.StatelessScope(initialize_variables=False):    # shapes only: no weights are made
        model = getattr(keras.applications, name)(weights=None)
    mine = count(describe(model))
    print(f"{name:12s} Keras {model.count_params():11,}   yours {mine[0]:11,}  "
          f"of these trainable {mine[1]:11,}   {mine[2] / 1e9:6.2f} GMACs")
    keras.utils.clear_session()

# %% [markdown]
r"""
Other sources say 25,557,032 for ResNet-50. Nobody has miscounted. Keras' model has a bias in each of its convolutions,
which the other one leaves out, and Keras' `count_params` includes the moving statistics. Here is the whole difference:
"""

# %% uses="count"
from pathlib import Path

known = json.loads(Path("models.json").read_text())     # beside this notebook; by `describe`
rows = known["ResNet50"]
biases = sum(row["out"][-1] for row in rows if row["kind"] == "Conv2D")
moving = sum(2 * row["out"][-1] for row in rows if row["kind"] == "BatchNormalization")
total = count(json.dumps(rows))[0]
print(f"{total:,} - {biases:,} biases - {moving:,} moving statistics",
      f"= {total - biases - moving:,}")

# %% [markdown]
r"""
`models.json` holds more models: those of the lectures, from AlexNet to ResNeXt. The SURFsara lecture gives their cost as
"AlexNet 1.5, VGG 19.6, ResNets 3.6 to 11.6 GFLOPS". Which unit is it?
"""

# %% uses="count"
macs = {name: count(json.dumps(rows))[2] / 1e9 for name, rows in known.items()}
said = [("AlexNet", 1.5), ("VGG19", 19.6), ("ResNet34", 3.6), ("ResNet152", 11.6)]
for name, number in said:
    unit = "GMACs" if abs(number / macs[name] - 1) < 0.1 else "GFLOPs, 2 a MAC"
    print(f"{name:10s} the lecture says {number:5}   counted {macs[name]:6.2f} GMACs"
          f" = {2 * macs[name]:5.2f} GFLOPs: so these are {unit}")

# %% [markdown] slide="slide"
r"""
## 3. "GFLOPS": count before you compare

| | lecture | GMACs, counted | GFLOPs | parameters |
|---|---|---|---|---|
| AlexNet (grouped) | 1.5 | 0.72 | **1.45** | 61.0 M |
| VGG-19 | 19.6 | **19.63** | 39.3 | 143.7 M |
| ResNet-34 | 3.6 | **3.66** | 7.3 | 21.8 M |
| ResNet-152 | 11.6 | **11.28** | 22.6 | 60.2 M |

One row is in FLOPs, the others in MACs. ResNet-152 depends on where its strides are: 11.3 to 11.5.

*V. Codreanu, Introduction to High-Performance Machine Learning, SURFsara / PRACE, 2018; counts: this notebook*
"""

# %% [markdown] slide="notes"
r"""
The numbers have been copied from paper to paper, and each paper had its own convention. Taken at its word, the list says
that VGG-19 costs 13 times as much as AlexNet. It is 27 times. From now on: MACs.
"""

# %% [markdown]
r"""
The lecture adds that 50 epochs of ImageNet with VGG are more than an exaFLOP, $10^{18}$ operations. Is that so? There are
1.28 million pictures, and a training step costs three forward passes: one forward, about two backward (02-neuron).
"""

# %% uses="count"
work = 50 * 1.28e6 * 3 * 2 * macs["VGG19"] * 1e9
days = work / (machine.gemm_gflops(1) * 1e9) / 86400
print(f"{work / 1e18:.1f} exaFLOP: {days:,.0f} days on one thread of this machine, at its peak")

# %% [markdown] slide="slide"
r"""
## 4. Deeper, and worse

![Training error of plain and residual networks of 20 and of 56 layers](figures/depth.svg)

Error on the pictures that the network *learns from*: mean of three seeds, band from lowest to highest. Fashion-MNIST
at 14×14 pixels.

**Deeper networks must be able to do what shallower ones do. They do not find it.**
"""

# %% [markdown]
r"""
If stacking layers is so good, why stop at 19? People did not. With 30, 50, 100 plain layers the error went *up*, on new
pictures and on the training pictures alike. He et al. called it **degradation** in 2015. You will run the experiment in
section 8.

Why should that be? Let us look at a network before it has learned anything. Below is a stack of dense layers with ReLU,
64 neurons wide, with random weights, and a minibatch of 64 random inputs. Backward begins at the right with a gradient
of size 1. How large is it when it has come to the first layer?

Move the sliders, and look at the four kinds of network in turn.
"""

# %%
widgets.depth(layers=32, gain=1.0)

# %% [markdown]
r"""
Try these.

1. *Plain*, weights of 0.8: that is 20 % too small. How many layers does it take until nothing is left of the gradient?
   And with weights of 1.2?
2. *Plain with batch normalisation*: now the size of the weights has no influence at all. But what happens to the gradient
   on its way to the first layer? Take 64 layers.
3. *Residual* without normalisation: nothing vanishes. What happens instead?
4. *Residual with batch normalisation*, 64 layers, any weights.

A gradient that goes through L layers is multiplied L times. Each factor may be close to 1: $0.9^{50}$ is 0.005, and
$1.2^{50}$ is 9100. A shortcut adds a path on which the factor *is* 1.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Before anything is learned

![Size of the gradient, layer by layer, in four kinds of network](figures/signal.svg)

A gradient through L layers is multiplied L times. Normalisation takes care of the numbers on their way forward, the
shortcut of the gradients on their way back. *In the notebook, depth and weights are sliders.*
"""

# %% [markdown]
r"""
## 5. Batch normalisation

A layer learns from numbers that other layers make, and these change with every step. So let us fix their scale (Ioffe and
Szegedy, 2015). For each channel, over all pictures and all pixels of the minibatch, take the mean $\mu$ and the variance
$\sigma^2$ (the mean of the squared distances from $\mu$), and

$$y \;=\; \gamma\;\frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} \;+\; \beta .$$

$\gamma$ and $\beta$ are learned, one of each for a channel: the layer may choose another scale, but it has to *say* so.
$\varepsilon$ keeps channels that are constant from dividing by zero.

And when the network is *used*, perhaps on a single picture? Its answer must not depend on what else is in the
minibatch. So during training each step also moves two memories a little,

$$\text{mean} \leftarrow 0.9\,\text{mean} + 0.1\,\mu, \qquad \text{variance} \leftarrow 0.9\,\text{variance} + 0.1\,\sigma^2,$$

and inference takes these *moving statistics* in place of $\mu$ and $\sigma^2$, and leaves them as they are.
"""

# %% given="constants"
MOMENTUM = np.float32(0.9)      # how much of a moving statistic stays at each step
EPSILON = np.float32(1e-3)      # added to every variance

# %% [markdown]
r"""
**Write `batch_norm`**, for training and for inference.
"""

# %% exercise="batch_norm"
def batch_norm(x, gamma, beta, mean, variance, training):
    """Batch normalisation of each channel.

    x : (N, H, W, C), gamma, beta, mean, variance : (C,), float32; mean and variance are the
    moving ones: leave these arrays as they are. training : 1 or 0.
    Returns the tuple (y, new mean, new variance), float32. About 7 lines.
    """
    ### BEGIN SOLUTION
    m, v = mean, variance
    if training:
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
        mean = MOMENTUM * mean + (1 - MOMENTUM) * m
        variance = MOMENTUM * variance + (1 - MOMENTUM) * v
    y = gamma * (x - m) / np.sqrt(v + EPSILON) + beta
    return y, mean, variance
    ### END SOLUTION

# %% check="batch_norm"
# Each channel's mean and spread: before, as it should be, as yours is. Right: the moving mean.
check("batch_norm")

# %% [markdown] slide="slide"
r"""
## 5. Batch normalisation has two faces

$$y = \gamma\,\frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta$$

- **training**: $\mu$, $\sigma^2$ of the minibatch, for each channel, over all pictures and pixels
- **inference**: moving averages of these, frozen. It is then a scale and a shift, nothing else
- a step makes the moving averages follow: $0.9$ old $+\;0.1$ new
- forget to switch, and a picture's answer depends on its neighbours in the minibatch

*S. Ioffe, C. Szegedy, 2015*
"""

# %% [markdown]
r"""
## 6. A plus sign

What should a layer do that has nothing to add? Hand on its input. For a convolution with ReLU that is a hard thing to
learn: exactly one weight of each channel is 1, all the others 0. To learn to do *nothing* is easy: all weights 0. So let the
layers compute what is to be *added*:

$$y \;=\; \text{ReLU}\bigl(x + F(x)\bigr), \qquad F:\ \text{conv} \to \text{norm} \to \text{ReLU} \to \text{conv} \to \text{norm}.$$

$F$ is the *residual*, what is left to do. The path of x is the *shortcut*.
"""

# %% [markdown] slide="slide"
r"""
## 6. What is left to do: the residual block

![Two convolutions, and a shortcut around them](figures/block.svg)

- to do nothing, F has to be 0: easy. To hand on x through convolutions: hard
- backward: $dx = dy + \ldots$, whatever the convolutions do
- where the picture shrinks, the shortcut takes every second pixel and adds empty channels: **no weights**

*K. He, X. Zhang, S. Ren, J. Sun, Deep Residual Learning, 2015*
"""

# %% [markdown]
r"""
Where a block halves the picture and doubles the channels, its first convolution has stride 2, and x no longer fits to F(x).
The simplest shortcut that does (He et al. call it option A) takes every second pixel in both directions, and puts channels
of zeros behind those that there are. It still has no weights.

Here are a convolution, and your batch normalisation for training, with $\gamma = 1$ and $\beta = 0$.
"""

# %% given="operations"
def conv(x, w, stride=1):
    """Convolution of x (N, H, W, C) with w (k, k, C, K), 'same' padding, as one matrix product.

    Where the padding is odd, the larger half goes below and to the right, as in Keras.
    """
    k, pads = len(w), [(0, 0)]
    for side in x.shape[1:3]:
        total = max((-(-side // stride) - 1) * stride + k - side, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(x, pads + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))
    return np.tensordot(windows[:, ::stride, ::stride], w, ((4, 5, 3), (0, 1, 2)))


def norm(x):
    """Batch normalisation in training, without gamma, beta and moving statistics."""
    one, zero = np.ones(x.shape[3], np.float32), np.zeros(x.shape[3], np.float32)
    return batch_norm(x, one, zero, zero, one, 1)[0]

# %% [markdown]
r"""
**Write `residual_block`.** `np.pad(x, [(0, 0), (0, 0), (0, 0), (0, n)])` adds n channels of zeros at the end.
"""

# %% exercise="residual_block"
def residual_block(x, w1, w2, stride):
    """A residual block.

    x : (N, H, W, C), w1 : (3, 3, C, K), w2 : (3, 3, K, K), float32. stride : of the first
    convolution and of the shortcut, 1 (then K = C) or 2.
    Returns (N, H / stride, W / stride, K), float32. About 5 lines. Use conv and norm.
    """
    ### BEGIN SOLUTION
    y = np.maximum(norm(conv(x, w1, stride)), 0)
    y = norm(conv(y, w2))
    shortcut = x[:, ::stride, ::stride]
    new = y.shape[3] - x.shape[3]
    return np.maximum(np.pad(shortcut, [(0, 0), (0, 0), (0, 0), (0, new)]) + y, 0)
    ### END SOLUTION

# %% check="residual_block"
# Left: what arrives by the shortcut. Then the sum: expected, yours, and the difference.
check("residual_block")

# %% [markdown] slide="slide"
r"""
## 7. ResNet-20, to the letter

| stage | pictures | layers | channels |
|---|---|---|---|
| first | 32×32 | conv 3×3 | 16 |
| 1 | 32×32 | n blocks | 16 |
| 2 | 16×16 | n blocks, the first with stride 2 | 32 |
| 3 | 8×8 | n blocks, the first with stride 2 | 64 |
| last | 1×1 | average over all pixels, dense | 10 |

$6n + 2$ layers with weights: n = 3 makes 20 layers, n = 9 makes 56, n = 18 makes 110.

Published for CIFAR-10, 50 000 colour photographs of ten kinds of things: 0.27, 0.85 and 1.7 M parameters; 8.75, 6.97 and
6.43 % error (He et al., 2015).
"""

# %% [markdown]
r"""
**Write `network`** with Keras layers, to this specification (He et al., 2015, section 4.2):

- First a 3×3 convolution with the first of three widths. Then three stages of n residual blocks, one stage for each width.
- The first block of stages 2 and 3 has stride 2, in its *first* convolution and in its shortcut. The shortcut is that of
  section 6, without weights. A `keras` tensor can be cut like an array, `x[:, ::2, ::2]`, and `ops.pad` adds the zeros.
- Every convolution is 3×3 with `"same"` padding and *without a bias*. Batch normalisation follows it, then a ReLU; the
  second ReLU of a block comes after the addition.
- At the end the average over all pixels, `layers.GlobalAveragePooling2D()`, and one dense layer. It returns scores: no
  softmax.
- `residual=False`: the same network without its shortcuts, a **plain** one.

Two details that do not change what a network *can* do, but how well it trains: `kernel_initializer="he_normal"` for
convolutions, and `momentum=0.9` for batch normalisation, as in section 5.

How can one check a network? `reveal` lists the shapes of all its weights. Then it sets each weight to numbers that depend
on its place only, and asks for the scores of some pictures. Two networks that agree in both are the same function.
"""

# %% given="reveal"
def reveal(model, pictures):
    """A model as arrays: shapes of its weights, and scores from weights that anybody can make.

    Returns (shapes, scores): (number of weights, 4) int64, filled up with zeros; (N, classes).
    """
    shapes, values = np.zeros((len(model.weights), 4), np.int64), []
    for place, weight in enumerate(model.weights):
        shape = tuple(weight.shape)
        shapes[place, :len(shape)] = shape
        numbers = np.random.default_rng(place).standard_normal(shape)
        if len(shape) > 1:
            values.append(numbers / np.prod(shape[:-1]) ** 0.5)
        else:
            values.append(np.abs(1 + 0.1 * numbers))        # a variance has to be positive
    model.set_weights(values)
    return shapes, ops.convert_to_numpy(model(pictures, training=False))

# %% exercise="resnet"
def network(shape, n, residual=True, widths=(16, 32, 64), classes=10):
    """A residual network of 6n + 2 layers with weights, or a plain one.

    shape : of one picture, (H, W, C). Returns a keras.Model. About 20 lines.
    """
    ### BEGIN SOLUTION
    def conv_norm(x, width, stride=1):
        x = layers.Conv2D(width, 3, stride, padding="same", use_bias=False,
                          kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input(shape)
    x = layers.ReLU()(conv_norm(inputs, widths[0]))
    for stage, width in enumerate(widths):
        for block in range(n):
            stride = 2 if stage > 0 and block == 0 else 1
            y = layers.ReLU()(conv_norm(x, width, stride))
            y = conv_norm(y, width)
            if residual:
                new = width - x.shape[-1]
                y = y + ops.pad(x[:, ::stride, ::stride], [(0, 0), (0, 0), (0, 0), (0, new)])
            x = layers.ReLU()(y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))
    ### END SOLUTION


def resnet(pictures, n, residual):
    """What the check looks at; leave it as it is."""
    return reveal(network(pictures.shape[1:], n, bool(residual)), pictures)

# %% check="resnet"
# Layers with weights and their channels: grey as it should be, red as yours. Right: the scores.
check("resnet")

# %% [markdown]
r"""
Is it the ResNet-20 of the paper? It should have 0.27 million parameters, and 0.85 million with 56 layers. ResNet-110 is the
same function, called with n = 18.
"""

# %% uses="count resnet"
for n in (3, 9):
    model = network((32, 32, 3), n)
    parameters, trainable, work = count(describe(model))
    assert parameters == model.count_params()
    print(f"ResNet-{6 * n + 2:<4d} {trainable / 1e6:5.2f} M trainable parameters,",
          f"{work / 1e6:6.1f} MMACs")
keras.utils.clear_session()

# %% [markdown]
r"""
## 8. The experiment

Plain against residual, 20 layers against 44: four networks, the same 6400 pictures in the same order. Pictures are made
smaller, 14×14, and networks narrower, 8, 16 and 32 channels, so that an epoch takes seconds. Only depth and shortcuts
differ: a plain and a residual network of one depth have *exactly* as many parameters and MACs.

You can interrupt the training. Run the cell again, and it goes on with the network that was not finished. Run the cell
before it, and it begins anew.
"""

# %%
fashion = data.load("fashion-mnist-mini")


def halved(pictures):
    """Pictures (N, 28, 28, 1) of 0 to 255 as (N, 14, 14, 1): means of 2×2 pixels, centred."""
    small = pictures.reshape(len(pictures), 14, 2, 14, 2, 1).mean((2, 4))
    return small.astype(np.float32) / np.float32(255) - np.float32(0.3)


x_train, y_train = halved(fashion.x_train[:6400]), fashion.y_train[:6400]
learned = {}

# %% uses="resnet"
from hpml.progress import Bar


class Report(keras.callbacks.Callback):
    """Keeps the error so far after each minibatch, and moves a progress bar."""

    def __init__(self, batch):
        super().__init__()
        self.batch, self.bar, self.errors = batch, Bar(len(x_train), "images"), []

    def on_train_batch_end(self, step, logs=None):
        self.errors.append(100 * (1 - float(logs["accuracy"])))
        self.bar.advance(self.batch, loss=float(logs["loss"]), error=self.errors[-1] / 100)


for depth in (20, 44):
    for residual in (False, True):
        name = f"{'residual' if residual else 'plain'}, {depth} layers"
        if name in learned:
            continue
        print(name)
        keras.utils.set_random_seed(7)
        model = network((14, 14, 1), (depth - 2) // 6, residual, widths=(8, 16, 32))
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), metrics=["accuracy"],
                      loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        report = Report(batch=64)
        model.fit(x_train, y_train, batch_size=64, epochs=1, verbose=0, callbacks=[report])
        learned[name] = report.errors

# %% [markdown]
r"""
One epoch, one seed: a first impression, on the left. On the right is the same with more patience, computed beforehand: 20
and 56 layers, five epochs with a falling learning rate, three seeds each.
"""

# %% uses="resnet"
long = json.loads(Path("depth.json").read_text())   # beside this notebook; of the same networks
colours = {"plain": "C1", "residual": "C0"}
figure, (left, right) = plots.figure(9.5, 4, columns=2)
for name, errors in learned.items():
    kind, depth = name.split(",")[0], int(name.split()[1])
    pictures = 64 * np.arange(1, len(errors) + 1)
    left.plot(pictures, errors, "--" if depth == 20 else "-", color=colours[kind], label=name)
left.set(xlabel="pictures seen", ylabel="error so far on these pictures, %",
         title="This machine")
left.legend(fontsize=9)
for name, seeds in long.items():
    kind, depth = name.split("-")
    errors = np.array(seeds)[:, 0]
    epochs = range(1, errors.shape[1] + 1)
    colour, style = colours[kind], "o--" if depth == "20" else "s-"
    right.plot(epochs, errors.mean(0), style, color=colour, ms=5,
               label=f"{kind}, {depth} layers: {errors[:, -1].mean():.1f} %")
    right.fill_between(epochs, errors.min(0), errors.max(0), color=colour, alpha=0.2, lw=0)
right.set(xlabel="epoch", ylabel="error on training pictures, %", ylim=(0, 125),
          yticks=range(0, 101, 20), title="Three seeds, five epochs")
right.legend(fontsize=9, loc="upper right")
figure

# %% [markdown]
r"""
The shortcut has not made 56 layers *better* than 20: these pictures are small, and five epochs are few. It has made depth
stop hurting. More pictures help more: from all 60 000 of Fashion-MNIST (`./course data fetch fashion-mnist`, once), as
small as here, the residual network of 20 layers learns in {{all_epochs}} epochs to recognise {{all_accuracy}} % of 10 000 new
ones, the mean of {{all_seeds}} seeds, give or take {{all_spread}}. What depth is then good for shows with more data and more
time: on CIFAR-10, ResNet-20, -56 and -110 reached 8.75, 6.97 and 6.43 % error.

**Explain.** A friend says: "56 layers are too many for these small pictures. The network overfits." Does the right plot
bear this out? What else could be the reason, and which part of the experiment speaks for it: what do the plain and the
residual network of one depth have in common, and in what do they differ? The plain networks do have batch normalisation;
relate that to what you saw in section 4. Use numbers of your plots. Four to eight sentences.
"""

# %% [markdown] manual="explain_depth"
r"""
A network that overfits is good at its training pictures and bad at others. Here the error *on the training pictures* is
what goes up with depth: from {{plain20}} % with 20 plain layers to {{plain56}} % with 56. The bands of the seeds do not
overlap, so it is no accident. It is no lack of ability either: 56 layers could be the 20 layers followed by 36 that hand on
their input. And it is not the number of weights, because the residual network of 56 layers has exactly as many
parameters and MACs, and errs on {{residual56}} %. What differs is only how easily gradient descent finds good weights. In
section 4, normalisation kept the numbers on their way forward in range, so they neither vanish nor explode there. But the
gradients of a plain stack grew by a factor in each layer on their way back, so that first and last layers would need
learning rates that are orders of magnitude apart. With shortcuts they grew far less, and a block that has nothing to add
has only to stay near zero.
"""

# %% [markdown] slide="notes"
r"""
Let somebody defend "it overfits" before you show the training error. Then: "it cannot" (but it contains the shallower
one), "the gradients vanish" (look at section 4: with normalisation they grow). What is left is that gradient descent does
not *find* it. He et al. were careful, too: they only say that it is unlikely to be vanishing gradients.
"""

# %% [markdown]
r"""
## 9. Fifty layers and more: the bottleneck again

For ImageNet and 50 layers or more, a block of two 3×3 convolutions on 256 channels would be too expensive. So ResNet-50 does
what GoogLeNet did: 1×1 from 256 down to 64 channels, 3×3 there, and 1×1 up to 256 again.
"""

# %% uses="count"
two = 2 * 9 * 256 * 256
three = 256 * 64 + 9 * 64 * 64 + 64 * 256
print(f"MACs a pixel: two 3×3 {two:,}, bottleneck {three:,}, {two / three:.0f} times fewer")
narrow = [row for row in known["ResNet50"] if row.get("kernel") == [1, 1]]
share = count(json.dumps(narrow))[2] / 1e9 / macs["ResNet50"]
print(f"1×1 convolutions do {share:.0%} of ResNet-50's MACs,",
      f"in {len(narrow)} of its 53 convolutions")

# %% [markdown]
r"""
Take the last of the three: 56×56 pixels, 64 channels to 256. A 1×1 convolution is one matrix product, without any patches.
Batch normalisation follows. At inference it has fixed numbers, so it is a subtraction, a division, a multiplication
and an addition for each output. Here are the two, one after the other, as their formulas say:
"""

# %%
def two_steps(x, w, gamma, beta, mean, variance):
    """A 1×1 convolution, and then batch normalisation at inference, as its formula says."""
    import numpy as np

    y = (x.reshape(-1, x.shape[3]) @ w).reshape(*x.shape[:3], -1)
    return gamma * (y - mean) / np.sqrt(variance + np.float32(1e-3)) + beta

# %% [markdown]
r"""
For each output the product needs 64 multiplications and 64 additions, the normalisation four operations: 3 % more. But at
inference both are *linear*. With $s = \gamma / \sqrt{\text{variance} + \varepsilon}$, for each channel of the output,

$$\gamma\,\frac{x\,w - \text{mean}}{\sqrt{\text{variance} + \varepsilon}} + \beta \;=\; x\,(w\,s) + (\beta - \text{mean}\cdot s).$$

The scale goes into the weights, what is left goes into a bias, and the normalisation is gone. That is called *folding*.

**Predict.** How many times as fast as `two_steps` is one convolution with folded weights and a bias, for this layer? The
folding itself is included: for 64×256 weights it is next to nothing.
"""

# %% predict="fold_gain"
predict("fold_gain", 1.5)

# %% [markdown]
r"""
**Write `fold`.** It returns the same numbers as `two_steps`. When it works, look at what is left besides the product. How
often does your code go through the whole output? Can it add *in place*?
"""

# %% exercise="fold"
def fold(x, w, gamma, beta, mean, variance):
    """A 1×1 convolution and its batch normalisation at inference, as one convolution.

    x : (N, H, W, C), w : (C, K), gamma, beta, mean, variance : (K,), all float32.
    Returns (N, H, W, K), float32. About 5 lines.
    """
    ### BEGIN SOLUTION
    scale = gamma / np.sqrt(variance + EPSILON)
    y = x.reshape(-1, x.shape[3]) @ (w * scale)
    y += beta - mean * scale
    return y.reshape(*x.shape[:3], -1)
    ### END SOLUTION

# %% check="fold"
# Expected, yours, and the difference. Then the verdict: paired samples against `two_steps`.
check("fold")

# %% check="fold_gain"
check("fold_gain")

# %% [markdown] slide="slide"
r"""
## 9. Batch normalisation, folded away

At inference convolution and normalisation are both linear:

$$\gamma\,\frac{x\,w - m}{\sqrt{v + \varepsilon}} + \beta \;=\; x\,(w\,s) + (\beta - m\,s), \qquad
s = \frac{\gamma}{\sqrt{v + \varepsilon}}$$

- ResNet-50, 56×56, 64 → 256 channels: normalisation is 3 % of the operations
- and folding makes the two together **{{fold_gain}} times as fast** (NumPy; {{here}})
- each pass over the output moves {{output_mb}} MB in and out; the product touches it once

Operations are not time. Inference engines do this first.
"""

# %% [markdown]
r"""
Frameworks fold when they prepare a network for inference, and in training they at least *fuse*: one pass does what four
did. Remember the lesson for the plot that comes now: MACs are not time either.

## 10. What accuracy costs

All models of the lecture, each with the MACs that you have counted, and the share of ImageNet's 50 000 validation pictures
that it gets right at the first guess, from one square cut out of the middle of each. Three of them are new. ResNeXt is a
ResNet whose 3×3 convolutions are grouped. MobileNet goes to the end of that road: a group for each channel. In DenseNet a layer
reads what *all* layers of its block before it have made.
"""

# %% uses="count"
top1 = {        # %: Keras' documentation; a, b, c: torchvision's; x: Xie et al. 2017
    "VGG16": 71.3, "VGG19": 71.3, "ResNet50": 74.9, "ResNet101": 76.4, "ResNet152": 76.6,
    "InceptionV3": 77.9, "MobileNet": 70.4, "DenseNet121": 75.0,
    "AlexNet": 56.5, "GoogLeNet": 69.8, "ResNet34": 73.3,               # a, b, c
    "ResNeXt-101-32x4d": 78.8, "ResNeXt-101-64x4d": 79.6,               # x
}
families = {"ResNet": ["ResNet34", "ResNet50", "ResNet101", "ResNet152"],
            "ResNeXt": ["ResNeXt-101-32x4d", "ResNeXt-101-64x4d"], "VGG": ["VGG16", "VGG19"],
            "inception": ["GoogLeNet", "InceptionV3"], "AlexNet": ["AlexNet"],
            "others": ["MobileNet", "DenseNet121"]}
figure, axis = plots.figure(8.5, 4.8)
for (family, names), mark in zip(families.items(), "osD^vP", strict=True):
    line = "" if family == "others" else "-"
    axis.plot([macs[n] for n in names], [top1[n] for n in names], mark + line, lw=1.2,
              label=family)
    for n in names:
        above = n in ("VGG16", "DenseNet121", "InceptionV3")    # labels that others would hide
        axis.annotate(n.replace("ResNeXt-101-", "").replace("Net", ""), (macs[n], top1[n]),
                      xytext=(-6, 6) if above else (6, -11), ha="right" if above else "left",
                      textcoords="offset points", fontsize=9)
for name, number in said:
    axis.plot([number], [top1[name]], "x", color=plots.INK, ms=9, mew=2,
              label="the lecture's GFLOPS" if name == "AlexNet" else None)
axis.set_xscale("log")
axis.set_xticks([0.5, 1, 2, 5, 10, 20], [0.5, 1, 2, 5, 10, 20])
axis.minorticks_off()
axis.set(xlabel="GMACs for one picture", ylabel="right at the first guess, %", xlim=(0.4, 30),
         ylim=(54, 83), title="Accuracy costs arithmetic")
axis.legend(fontsize=9, loc="lower right")
figure

# %% [markdown] only="slides" slide="slide"
r"""
## 10. Accuracy costs arithmetic

![Top-1 accuracy against MACs for thirteen models](figures/accuracy.svg)

Crosses: the lecture's "GFLOPS". Accuracies: Keras' and torchvision's documentation, Xie et al. 2017; MACs: counted.
"""

# %% [markdown]
r"""
Two things can be read from it. *Within* a family, accuracy grows with the logarithm of the arithmetic: twice the work buys a
point or so, and less and less. *Between* families, a better idea is worth more than that. ResNet-34 needs a fifth of
VGG-19's work and is better; MobileNet needs a thirtieth and is nearly as good. (InceptionV3 sees pictures of 299×299, the
others of 224×224.)
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Capacity, and hardware to the rescue

- Accuracy grows with data and with the size of models, and with both grows the work.
- ResNet-50, ResNet-101, ResNeXt-101-32x4d and -64x4d took 2, 4, 7 and 14 days on one server with 8 M40 GPUs.
- Their MACs: 3.9, 7.6, 8.0 and 15.5 G. **7.6 and 8.0, but 4 and 7 days**: grouped convolutions do less work for each
  byte.
- VGG-19, 50 epochs of ImageNet: 7.5 exaFLOP, forward and backward.

*V. Codreanu, Introduction to High-Performance Machine Learning, SURFsara / PRACE, 2018; counts: this notebook*
"""

# %% [markdown] slide="notes"
r"""
The lecture's training times against the counted MACs: 2 days for 3.9, 4 for 7.6, 7 for 8.0, 14 for 15.5. From the second to
the third the work hardly grows, and the time nearly doubles. Ask why, and send them back to the roofline.
"""

# %% [markdown] slide="slide"
r"""
## What to take home

**Depth stopped helping because gradient descent could not find what deeper networks can do. A shortcut that costs nothing
made it findable.** Bottlenecks make depth cheap, normalisation makes it trainable, and at inference normalisation is
folded away. Count MACs yourself, and do not take them for time.
"""

# %% [markdown]
r"""
## What you measured

Read back from your verdicts on this machine.
"""

# %%
hpml.measured()

# %% [markdown]
r"""
Training took most of this lab's time, on one process. 08-efficiency makes a training step faster, and 11-horovod trains a small
ResNet on many workers.

**Further reading**

- K. He, X. Zhang, S. Ren, J. Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016 (arXiv 1512.03385).
- C. Szegedy et al., *Going Deeper with Convolutions*, CVPR 2015: 22 layers on a budget of 1.5 billion multiplications.
- S. Ioffe, C. Szegedy, *Batch Normalization*, ICML 2015; and G. Yang et al., *A Mean Field Theory of Batch
  Normalization*, ICLR 2019: why gradients explode in section 4's second picture.
"""
