# %% [markdown] slide="slide"
r"""
# From one neuron to a network

A network of {{parameters}} numbers looks at a picture and says what piece of clothing it is. That takes {{one}} on one
thread. How long do 256 pictures take?

**{{many}}: only {{times}} times as long**, for 256 times the arithmetic. The network was made in {{train}}, from random
numbers and 10 000 examples, by the forty lines of Python that you are going to write.
"""

# %% [markdown]
r"""
*You will*

- watch a network bend a line until it fits, and find out how many neurons that takes;
- write a neuron, a layer of neurons, and the loss that says how wrong they are;
- predict how much sooner a whole batch is done than its pictures one by one, then measure and explain it;
- derive the gradients, check them against plain arithmetic, and train a network until it recognises about {{accuracy}} % of real pictures;
- count what training costs, and when using the network costs more.

About 75 minutes. You need 01-measuring: the roofline, and the card of your machine. Only NumPy computes here, no
framework. All times are processor time on **one thread**.
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, data, plots, predict, widgets

hpml.lab("02-neuron")

# %%
machine = hpml.machine()
machine

# %% [markdown] slide="notes"
r"""
Both times are for the forward pass of 784 → 128 → 10 on one thread, pictures as rows of one matrix. Ask for guesses
before you uncover the second paragraph. Most people say 256 times, or a little less.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Learned, not designed

- Artificial intelligence contains machine learning, which contains deep learning.
- Before: experts design features, a classifier sits on top of them. Now one network learns both together.
- The idea is old. Three things brought it back: hardware, data sets, and the accuracy that the two made possible.

*D. K. Panda, H. Subramoni, A. Jain, High-Performance Deep Learning, Ohio State, 2020*
"""

# %% [markdown] slide="slide"
r"""
## 1. Play first

Points of two colours lie in a plane. A network gets the two coordinates of a point and has to say its colour. Press
**Play**, and watch what it takes the rest of the plane for.
"""

# %% [markdown] slide="notes"
r"""
Vote first: how many neurons does it take to go all the way round the ring? Then play it live with 4, 3 and 2: three
lines can close round a disc, two cannot. If it fails with enough of them, take a new beginning: a neuron that answers
to none of the points gets no gradient and never comes back. The figure that follows is the ring with six, after 3000
steps.
"""

# %%
widgets.playground()

# %% [markdown] only="slides" slide="fragment"
r"""
![A ring, learned by six hidden neurons](figures/playground.svg)

Each thin line is where one hidden neuron begins to answer. In the notebook this moves: change the points, the number of
neurons, the length of a step.
"""

# %% [markdown]
r"""
Try these, and write down what you see. You will be able to say why by the end.

1. *Ring*. How many hidden neurons does it take to go all the way round? Try 4, 3, 2 and 1.
2. *Two clouds*, one hidden neuron. One straight border is all it has. Is it enough? Take a new beginning a few times:
   does it succeed from all of them?
3. *Four corners*. How many neurons are needed, and is that number enough from every beginning?
4. *Spiral* with the most neurons that there are. What helps: time, or a longer step? What does a step of 1 do to the loss?

Each small picture in the middle is one *hidden neuron*: the part of the plane in which it answers. The large picture
adds them up. Everything else in this lab is how they come to be where they are.

## 2. One neuron

A neuron has one *weight* for each of its inputs, and a *bias*. It multiplies, adds up, and answers only if the result is
positive:

$$y \;=\; \max\Bigl(0,\; b + \sum_{c=0}^{C-1} x_c\,w_c\Bigr).$$

The last step is called ReLU, the *rectified linear unit*. It is the whole nonlinearity. Without it, neurons of neurons
would only be longer weighted sums, and the playground could draw nothing but straight lines.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## One neuron

$$y = \max\Bigl(0,\; b + \sum_{c} x_c\,w_c\Bigr)$$

- one weight an input, one bias, and a bend at zero: ReLU
- with 784 pixels as inputs, the weights are a picture, too: *what the neuron looks for*
- without the bend, a network of any depth is one matrix

*V. Codreanu, Introduction to High-Performance Machine Learning, SURFsara / PRACE, 2018*
"""

# %% [markdown] slide="notes"
r"""
Ask what is lost without the bend, and let somebody multiply two layers out: (x·w1)·w2 is x·(w1·w2), one matrix. In the
notebook one neuron gets the average trouser minus the average piece of clothing as its weights, and tells most trousers
from most other things. Nobody will design such templates for a thousand classes: the neurons have to find them.
"""

# %% [markdown]
r"""
**Write `neuron`.** Let it look at several inputs: x has one row for each of N inputs, the answer one number for each.
`@` is NumPy's product of matrices and vectors, and `np.maximum` compares element by element.
"""

# %% exercise="neuron"
def neuron(x, w, b):
    """The answers of one neuron to N inputs.

    x : (N, C) float32, one input a row. w : (C,) float32, the weights. b : float, the bias.
    Returns (N,) float32. About 1 line.
    """
    ### BEGIN SOLUTION
    return np.maximum(x @ w + b, 0)
    ### END SOLUTION

# %% check="neuron"
# The picture shows the bend, the answers that are expected, and yours. Then the verdict.
check("neuron")

# %% [markdown]
r"""
Now real pictures: 10 000 pieces of clothing from Fashion-MNIST, 28×28 pixels, ten classes, and 2000 others for testing.
A picture becomes a row of 784 numbers. We make them 0 to 1, and subtract 0.3, about their mean, so that they lie on both
sides of zero. Training likes that.
"""

# %%
fashion = data.load("fashion-mnist-mini")


def rows(pictures):
    """Pictures (N, 28, 28, 1) of 0 to 255 as rows (N, 784) of float32, about -0.3 to 0.7."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    return flat / np.float32(255) - np.float32(0.3)


x_train, y_train = rows(fashion.x_train), fashion.y_train
x_test, y_test = rows(fashion.x_test), fashion.y_test

figure, axes = plots.figure(9, 1.5, columns=10)
for label, axis in enumerate(axes):
    axis.imshow(fashion.x_train[y_train == label][0, :, :, 0], cmap="gray_r")
    axis.set_title(fashion.classes[label].split("/")[0], fontsize=9)
    axis.set_axis_off()
figure

# %% [markdown]
r"""
What can one neuron know? Give it as weights the difference between the average trouser and the average piece of
clothing, and look at its answers to pictures that it has not seen.
"""

# %% uses="neuron"
template = x_train[y_train == 1].mean(0) - x_train.mean(0)
answers = neuron(x_test, template, -18.0)

figure, (left, right) = plots.figure(9, 2.6, columns=2, width_ratios=[1, 3])
left.imshow(template.reshape(28, 28), cmap="PuOr", vmin=-0.7, vmax=0.7)
left.set_axis_off()
left.set_title("its weights")
edges = np.linspace(0, answers.max(), 30)
right.hist([answers[y_test == 1], answers[y_test != 1]], edges,
           label=["trousers", "everything else"])
right.set_yscale("log")
right.set(xlabel="answer of the neuron", ylabel="pictures of the test set")
right.legend()
figure

# %% [markdown]
r"""
One weighted sum tells most trousers from most other things. (Nearly all the others are in the bar at zero: the scale is
logarithmic.) Shirts and pullovers are harder, and nobody will design templates for a thousand classes. So we need many
neurons, and they have to find their weights themselves.

## 3. A layer, and a batch

K neurons that look at the same inputs are a *layer*. Put their weights side by side as the columns of one matrix w, C
rows and K columns. N pictures that go through together are a *minibatch*, or batch: the rows of one matrix x. Then all
the answers of all neurons to all pictures are **one matrix product**:

$$\underbrace{Y}_{N \times K} \;=\; \max\bigl(0,\; \underbrace{X}_{N \times C}\,\underbrace{W}_{C \times K} + b\bigr).$$

Our network has two layers. The first has 784 inputs and 128 *hidden* neurons. The second has those 128 as its inputs and
ten outputs, one for each class, *without* the ReLU. The class with the highest output wins.
"""

# %% [markdown] slide="slide"
r"""
### A network is two matrix products

![784 pixels, 128 hidden neurons, 10 classes](figures/network.svg)

A batch of N pictures is N rows of x. Columns of w1 are hidden neurons.
"""

# %% [markdown] slide="notes"
r"""
Follow the colours: the blue row of x and the orange column of w1 make the one dark number of h. That is the neuron of
the slide before, for one picture. Ask what grows when 256 pictures come instead of one (x, h and z), and what does not
(the weights). There is no ReLU behind z: the highest of the ten outputs wins.
"""

# %% [markdown]
r"""
**Predict.** How many numbers does this network have to learn: weights and biases, 784 → 128 → 10?
"""

# %% predict="parameters"
predict("parameters", 101770)

# %% check="parameters"
check("parameters")

# %% [markdown]
r"""
Here is the layer as one would write it at first: one picture after the other. For each of them it is a product of a
vector and a matrix, already done by a fast library. There is no Python loop over pixels or neurons.
"""

# %%
def loop_over_pictures(x, w, b):
    """The same layer, one picture after the other."""
    import numpy as np

    y = np.empty((len(x), w.shape[1]), np.float32)
    for n in range(len(x)):
        y[n] = np.maximum(x[n] @ w + b, 0)
    return y

# %% [markdown]
r"""
The arithmetic of the whole batch is the same, to the last multiplication.

**Predict.** 256 pictures, 784 inputs, 128 neurons. How many times as fast is one product for the batch as this loop?
"""

# %% predict="batch_gain"
predict("batch_gain", 2.8)

# %% [markdown]
r"""
**Write `dense`**, the layer for a whole batch. The bias is a row that is added to every row: NumPy does that by itself,
and calls it *broadcasting*.
"""

# %% exercise="dense"
def dense(x, w, b):
    """The answers of K neurons to N inputs: a dense layer with ReLU.

    x : (N, C), w : (C, K), b : (K,), all float32. Returns (N, K) float32.
    About 1 line, without a loop.
    """
    ### BEGIN SOLUTION
    return np.maximum(x @ w + b, 0)
    ### END SOLUTION

# %% check="dense"
# Left: a batch and the weights. Right: the answers expected, yours, and where they differ.
check("dense")

# %% check="batch_gain"
check("batch_gain")

# %% [markdown]
r"""
The function is the same as `neuron`, to the letter. What has changed are the shapes. Let us see how the gain comes about:
batches of 1 to 1024 pictures, the same layer, the time for *one* picture. `threadpool_limits(1)` keeps NumPy on one
thread.
"""

# %% uses="dense"
import time

from threadpoolctl import threadpool_limits

threadpool_limits(1)                # NumPy's matrix product, too, uses one thread from here on


def seconds(function, *args, least=0.02, blocks=5):
    """Processor seconds of one call: the median of blocks of at least `least` seconds."""
    calls, times = 1, []
    while len(times) < blocks:
        begin = time.process_time()
        for _ in range(calls):
            function(*args)
        spent = time.process_time() - begin
        if spent >= least or calls >= 100_000:
            times.append(spent / calls)
        else:
            calls *= 2
    return float(np.median(times))


rng = np.random.default_rng(2)
w = rng.standard_normal((784, 128), dtype=np.float32)
b = rng.standard_normal(128, dtype=np.float32)
batches = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
each = np.array([seconds(dense, x_train[:N], w, b) / N for N in batches])

N = np.geomspace(1, 1024, 200)
arithmetic = 2 * 784 * 128 / (machine.gemm_gflops(1) * 1e9) + 0 * N
memory = 4 * (784 + 128 + (784 * 128 + 128) / N) / (machine.bandwidth_gbs(1) * 1e9)

figure, axis = plots.figure(7.5, 4)
axis.loglog(batches, each * 1e6, "o-", label="dense, 784 → 128", base=2)
axis.loglog(N, memory * 1e6, ":", color=plots.INK, lw=1.6, base=2,
            label="memory: the weights fetched once a batch")
axis.loglog(N, arithmetic * 1e6, "--", color=plots.INK, lw=1.2, base=2,
            label="arithmetic at the peak of the card")
axis.set_xticks(batches, batches)
axis.set_yticks([1, 2, 5, 10, 20, 50, 100], [1, 2, 5, 10, 20, 50, 100])
axis.minorticks_off()
axis.set_ylim(0.4 * min(*each * 1e6, *arithmetic * 1e6), 2 * max(*each * 1e6, *memory * 1e6))
axis.set(xlabel="pictures in a batch, N", ylabel="time for one picture, µs",
         title="One picture costs less in company")
axis.legend(fontsize=10)
figure

# %% [markdown] only="slides" slide="slide"
r"""
## One picture costs less in company

![Time for one picture over the size of the batch](figures/batch.svg)

A weight is 4 bytes and does 2 operations for each picture: **N/2 FLOP per byte**. {{here}}
"""

# %% [markdown] slide="notes"
r"""
Ask whether the time for one picture can fall for ever, then point at the two limits: the dotted one falls, the dashed
one stays. This is the first layer alone: {{single}} for one picture, {{company}} for each of 256. Why points on the
left lie below the dotted line is for the notebook, which asks for it. Nor is the curve smooth: near 16 pictures it goes
up once, which is measured, and which this lab does not explain.
"""

# %% [markdown]
r"""
Count as in 01-measuring. A weight is 4 bytes. For each picture it takes part in one multiplication and one addition. So,
as far as the weights go, the work per byte is

$$\frac{2N\ \text{FLOP}}{4\ \text{byte}} \;=\; \frac{N}{2}\ \text{FLOP/byte}.$$

With one picture that is 0.5, far to the left of the ridge point of any machine.

And the step from one to two? There are two routines behind `@`. For a single row it is the product of a vector and a
matrix: each weight is read, used, and forgotten. From two rows on it is a matrix product, the GEMM of your card. That one
first copies both matrices, in pieces, into an order in which the processor can read them at full speed. The copy costs
the same however many pictures share it.

**Explain.** Why does the time for one picture fall as the batch grows, and why does it stop falling? The weights here are
0.4 MB: where do they come from, call after call, and what does that do to the dotted line? Then choose: which batch would
you take to train on a million pictures, and which to answer a person who is waiting? Use numbers of your plot. Four to
eight sentences.
"""

# %% [markdown] manual="explain_batch"
r"""
For one picture every weight is fetched for two operations: 0.5 FLOP per byte, and the ridge point of this machine is
at about {{ridge}}. So the time is that of moving 0.4 MB, however fast the processor multiplies: {{single}} for one
picture. With N pictures the same fetch, and from two pictures on the same copy, serves N times the work, N/2 FLOP per
byte, and the time for one picture falls. It stops falling where arithmetic becomes the limit, some way above the N at
which N/2 passes the ridge point: at N = 256 a picture takes {{company}}, near the dashed line. The points can lie
below the dotted line, because 0.4 MB fits into a cache: from the second call on the weights do not come from memory
at all, and a cache is faster. For training I would take a batch of 64 or more, since throughput is all that counts
there. Somebody who waits should get a batch of 1, or of the few who happen to ask at the same time: collecting 256
questions would make the first one wait for the last, to save microseconds.
"""

# %% [markdown] slide="slide"
r"""
## 4. How wrong is it?

Ten outputs are ten *scores*, z. Softmax makes probabilities of them: positive, and together 1.

$$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}, \qquad\qquad \text{loss} = -\log p_y$$

The loss of a picture is small if its own class y got a high probability. It is called *cross-entropy*.
"""

# %% [markdown] slide="notes"
r"""
Ask for the loss of a network that knows nothing: 0.1 for each of ten classes, so log 10, about 2.3. Then certain and
right, near 0, and certain and wrong, without limit. Say the derivative in words, since it is why this loss was chosen:
what you said, minus what you should have said. And warn them: scores of 200 do occur, and e to the 200 is no float32.
"""

# %% [markdown]
r"""
A network that knows nothing gives each of ten classes 0.1, and has a loss of $\log 10 \approx 2.3$. A certain and right
one comes near 0. A certain and wrong one pays without limit.

Why this loss? Because of its derivative. The loss of a *batch* is the mean over its N pictures, and

$$\frac{\partial\,\text{loss}}{\partial z_{n,k}} \;=\; \frac{1}{N}\,\bigl(p_{n,k} - [k = y_n]\bigr),$$

where $[k = y_n]$ is 1 for the right class and 0 for the others. That is: what you said, minus what you should have said.
A *gradient* is the array of all such derivatives. We call this one dz.

One trap. Scores of 200 do occur while a network learns, and $e^{200}$ is no float32. But subtracting the same number m
from all scores of a picture changes no probability. With $m = \max_k z_k$ no exponent is above zero, and

$$-\log p_y \;=\; \log \sum_j e^{z_j - m} \;-\; (z_y - m).$$

**Write `cross_entropy`.** `z.max(1, keepdims=True)` has shape (N, 1), so it can be subtracted from z. `z[np.arange(N), y]`
picks one score from each row.
"""

# %% exercise="cross_entropy"
def cross_entropy(z, y):
    """The loss of each picture, and the gradient of their mean with respect to the scores.

    z : (N, K) float32, the scores. y : (N,) int64, the right classes.
    Returns the tuple (loss, dz): loss (N,), dz (N, K), both float32. About 7 lines.
    """
    ### BEGIN SOLUTION
    N = len(z)
    z = z - z.max(1, keepdims=True)
    powers = np.exp(z)
    sums = powers.sum(1, keepdims=True)
    loss = np.log(sums[:, 0]) - z[np.arange(N), y]
    dz = powers / sums
    dz[np.arange(N), y] -= 1
    return loss, dz / N
    ### END SOLUTION

# %% check="cross_entropy"
# Top: the losses, bottom: dz; expected, yours, and the difference. Then the verdict.
check("cross_entropy")

# %% [markdown] slide="slide"
r"""
## 5. Backward

Each gradient is a matrix product of what came forward and what comes back:

$$dW = X^{\mathsf T} dY, \qquad db = \sum_n dY_n, \qquad dX = dY\, W^{\mathsf T}$$

and through a ReLU passes only what went through it: $dX = dY \cdot [X > 0]$.
"""

# %% [markdown] slide="notes"
r"""
Let them find the formulas by shapes: X is N×C, dY is N×K, dW has to be C×K, and only one product of the two fits. Then
ask how else one could get a gradient. Change one number up and down and look at the loss: two forward passes each,
{{passes}} for one step of this network. Backward gives all of them for the price of about one more pass.
"""

# %% [markdown]
r"""
Where does that come from? Take a layer without ReLU, $Y = XW + b$. The weight $w_{c,k}$ multiplies $x_{n,c}$ and adds to
$y_{n,k}$, for every picture n. If $y_{n,k}$ matters by $dy_{n,k}$, the weight matters by

$$dw_{c,k} = \sum_n x_{n,c}\; dy_{n,k}.$$

All pictures use the same weight, so their shares add up. Written with matrices this is $X^{\mathsf T} dY$. In the same way
$x_{n,c}$ matters by $\sum_k dy_{n,k}\, w_{c,k}$, which is $dY\,W^{\mathsf T}$. And a neuron that ReLU holds at zero would
stay there after a small change of its sum: nothing comes back through it.

Ours are two layers, one after the other:

$$h = \max(0,\; x\,w_1 + b_1), \qquad z = h\,w_2 + b_2.$$

Start at the end, with dz from `cross_entropy`. It gives dw2 and db2, and dh, the gradient of h. Send that through the
ReLU, and you have what dw1 and db1 need. That order has given the method its name: *backpropagation*.

**Write `gradients`.**
"""

# %% exercise="gradients"
def gradients(x, y, w1, b1, w2, b2):
    """Gradients of the mean loss of a batch with respect to the weights and biases.

    x : (N, C), w1 : (C, H), b1 : (H,), w2 : (H, K), b2 : (K,), float32; y : (N,) int64.
    Returns the tuple (dw1, db1, dw2, db2), each shaped like what it belongs to.
    About 5 lines. Use dense and cross_entropy.
    """
    ### BEGIN SOLUTION
    h = dense(x, w1, b1)
    loss, dz = cross_entropy(h @ w2 + b2, y)
    dh = (dz @ w2.T) * (h > 0)
    return x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)
    ### END SOLUTION

# %% [markdown]
r"""
You can check a gradient without knowing the answer. Its meaning is: *if I change this one number a little, how much does
the loss change?* So change it, up and down, and look:

$$\frac{\partial L}{\partial w} \;\approx\; \frac{L(w + \varepsilon) - L(w - \varepsilon)}{2\varepsilon}.$$

That takes two forward passes for each single number. For this network it would be {{passes}} of them to make one step.
Backward gives all of them for the price of about one more pass. That is why there is deep learning at all.

To have a network to look at, we need weights to begin with:
"""

# %%
def start(hidden, seed):
    """Random weights for 784 → hidden → 10, and biases of zero.

    Each weight is drawn with a spread of sqrt(2 / inputs): so the answers of a layer are about
    as large as its inputs, and neither fade nor explode. All zeros would not do: then all
    neurons of a layer would be alike, and get the same gradient for ever.
    """
    rng = np.random.default_rng(seed)
    w1 = rng.standard_normal((784, hidden), dtype=np.float32) * np.float32((2 / 784) ** 0.5)
    w2 = rng.standard_normal((hidden, 10), dtype=np.float32) * np.float32((2 / hidden) ** 0.5)
    return w1, np.zeros(hidden, np.float32), w2, np.zeros(10, np.float32)

# %% uses="dense cross_entropy gradients"
def mean_loss(weights, x, y):
    """The mean loss of a batch."""
    w1, b1, w2, b2 = weights
    return float(cross_entropy(dense(x, w1, b1) @ w2 + b2, y)[0].mean())


some = np.arange(0, 10_000, 313)
exact = [a.astype(np.float64) for a in start(16, seed=1)]       # float64: differences are tiny
x, y = x_train[some].astype(np.float64), y_train[some]
found = gradients(x, y, *exact)

rng, change = np.random.default_rng(3), 1e-6
for name, weight, gradient in zip(("w1", "b1", "w2", "b2"), exact, found, strict=True):
    at = np.unravel_index(rng.choice(weight.size, 8), weight.shape)
    at = max(zip(*at, strict=True), key=lambda place: abs(gradient[place]))
    kept, losses = weight[at], []
    for moved in (kept + change, kept - change):
        weight[at] = moved
        losses.append(mean_loss(exact, x, y))
    weight[at] = kept
    numerical = (losses[0] - losses[1]) / (2 * change)
    print(f"d{name}[{', '.join(map(str, at))}]:  backward {gradient[at]: .8f}"
          f"   by differences {numerical: .8f}")

# %% check="gradients"
# Top: dw1, bottom: dw2; expected, yours, and the difference. Then the verdict.
check("gradients")

# %% [markdown] slide="slide"
r"""
## 6. Four steps, again and again

1. **Sample** a minibatch of pictures and labels.
2. **Forward**: from pictures to scores to the loss.
3. **Backward**: from the loss to the gradient of every weight.
4. **Update**: a small step against the gradient, $w \leftarrow w - \eta\, dw$.

$\eta$ is the *learning rate*. Once through all pictures is an *epoch*. All of it together is called *stochastic gradient
descent*.
"""

# %% [markdown] slide="notes"
r"""
Ask why not all 10 000 pictures for each step: they cost as much as 300 batches of 32, and 300 rough steps go much
further than an exact one. Then why not one picture at a time: they have seen the figure. A third question is for the
notebook: what does "sample" have to mean if the file is sorted by class?
"""

# %% [markdown]
r"""
Why not the whole data set for each step? Its gradient is better, but 10 000 pictures cost as much as 300 batches of 32,
and 300 rough steps go much further than one exact step. Why not one picture at a time? You have measured that.

**Predict.** Count multiplications in your own `gradients`. How many times the multiplications of a forward pass does a
whole training step need, forward and backward together, for 784 → 128 → 10? (The update has one for each weight and
batch; leave it out.)
"""

# %% predict="step_cost"
predict("step_cost", 2.01)

# %% check="step_cost"
check("step_cost")

# %% [markdown]
r"""
**Write `train`.** You get data sorted by class, as files often are, and weights to begin with. What is asked for is the
result: a network that recognises at least {{reach}} % of pictures which it has not seen. In the check all pictures,
yours and those, are shifted by a pixel at random, and half of them mirrored, so that knowing the data set by heart is of
no use. Whether you follow the four steps to the letter is up to you.

Like every random thing, training can be unlucky: up to three seeds are tried, and the first that gets there counts. Then
the clock compares your time with that of a loop which sends each picture through the network alone, both on 1000
pictures, where 50 % is enough.
"""

# %% exercise="train"
def train(x, y, w1, b1, w2, b2, epochs, rate, batch, seed):
    """The weights after some epochs of training with minibatches.

    x : (N, 784) float32, y : (N,) int64, sorted by class. w1, b1, w2, b2 : the beginning; leave
    these arrays as they are. rate : float, the learning rate. batch : pictures in a minibatch.
    Returns the tuple (w1, b1, w2, b2), float32. About 10 lines. Use gradients.
    """
    ### BEGIN SOLUTION
    weights = [w1.copy(), b1.copy(), w2.copy(), b2.copy()]
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch):
            some = order[first:first + batch]
            steps = gradients(x[some], y[some], *weights)
            for weight, step in zip(weights, steps, strict=True):
                weight -= np.float32(rate) * step
    return tuple(weights)
    ### END SOLUTION

# %% check="train"
# What share of each class our network recognises, and what share yours. Then the verdict.
check("train")

# %% [markdown]
r"""
## 7. Let it learn

Now with 128 hidden neurons and all 10 000 pictures, not shifted this time. The cell trains one epoch after the other, so
you can stop it whenever you like (the square in the toolbar, or I, I). Run it again, and it goes on where it stopped. Run
the cell before it, and it begins anew.
"""

# %%
weights, history = start(128, seed=0), []

# %% uses="dense cross_entropy gradients train"
from hpml.progress import Bar


def recognised(weights, x, y):
    """Share of the pictures whose right class has the highest score."""
    w1, b1, w2, b2 = weights
    return float(((dense(x, w1, b1) @ w2 + b2).argmax(1) == y).mean())


epochs = 20
bar = Bar((epochs - len(history)) * len(x_train), "images")
while len(history) < epochs:
    epoch = len(history)
    weights = train(x_train, y_train, *weights, epochs=1, rate=0.05, batch=32, seed=epoch)
    history.append((mean_loss(weights, x_train, y_train), mean_loss(weights, x_test, y_test),
                    recognised(weights, x_train, y_train), recognised(weights, x_test, y_test)))
    bar.advance(len(x_train), loss=history[-1][0], test_accuracy=history[-1][3])

# %% uses="dense cross_entropy gradients train"
if not history:                     # nothing is trained yet
    raise NotImplementedError
learning, learned = np.array(history).T[:2], 100 * np.array(history).T[2:]
figure, (left, right) = plots.figure(9, 3, columns=2)
ways = (left, learning, "mean loss"), (right, learned, "recognised, %")
for axis, (seen, new), what in ways:
    axis.plot(range(1, len(seen) + 1), seen, "o-", ms=4, label="pictures it learns from")
    axis.plot(range(1, len(new) + 1), new, "s-", ms=4, label="pictures it has not seen")
    axis.set(xlabel="epoch", ylabel=what)
left.legend(fontsize=10)
right.set_title(f"{learned[1, -1]:.1f} % after {len(history)} epochs")
figure

# %% [markdown]
r"""
The two curves part. The network goes on getting better at pictures that it has seen, and no longer at others. It has begun
to learn them by heart, which is called *overfitting*. More data is the best remedy: with all 60 000 pictures of
Fashion-MNIST (`./course data fetch fashion-mnist` gets them, once) the same {{all_epochs}} epochs lead to
{{all_accuracy}} % of 10 000 new pictures. That is the mean of {{all_seeds}} seeds, give or take {{all_spread}}.

What have the neurons learned? Their weights are pictures. From them we take away the random pictures that they began as.
Here are the sixteen neurons whose answers count most in the second layer. What do they look for: whole pieces of
clothing, or parts?
"""

# %% uses="dense cross_entropy gradients train"
strongest = np.argsort(-np.abs(weights[2]).sum(1))[:16]
figure, axes = plots.figure(9, 2.5, rows=2, columns=8)
for axis, k in zip(axes.flat, strongest, strict=True):
    picture = (weights[0] - start(128, seed=0)[0])[:, k].reshape(28, 28)
    limit = np.abs(picture).max()
    axis.imshow(picture, cmap="PuOr", vmin=-limit, vmax=limit)
    axis.set_axis_off()
figure

# %% uses="dense cross_entropy gradients train"
w1, b1, w2, b2 = weights
taken = (dense(x_test, w1, b1) @ w2 + b2).argmax(1)
table = np.zeros((10, 10), int)
np.add.at(table, (y_test, taken), 1)

names = [name.split("/")[0] for name in fashion.classes]
figure, axis = plots.figure(6.4, 4.6)
axis.imshow(np.sqrt(table), cmap="Blues")
for (truth, said), count in np.ndenumerate(table):
    if count:
        ink = "white" if count > 90 else "black"
        axis.text(said, truth, count, ha="center", va="center", color=ink, fontsize=9)
axis.set_xticks(range(10), names, rotation=40, ha="right")
axis.set_yticks(range(10), names)
axis.grid(False)
axis.set(xlabel="taken for", ylabel="is", title="What it takes for what")
figure

# %% [markdown] only="slides" slide="slide"
r"""
## Sixteen of 128 neurons, and what the network mixes up

![What hidden neurons have learned, and the confusion matrix](figures/learned.svg)

{{accuracy}} % of 2000 pictures after 20 epochs, {{train}} on one thread. Shirts are the hard ones.
"""

# %% [markdown] slide="notes"
r"""
Ask which class will be the hardest. Then read the row of the shirts: there are 200 of each class, and nearly all of the
lost ones are taken for T-shirts, pullovers and coats, while shoes are mostly taken for other shoes. On the left are the
neurons that count most in the second layer, without the random pictures that they began as. The nearest average of lab
01 was right about two times in three; with all 60 000 pictures this network gets to {{all_accuracy}} %, the mean of
{{all_seeds}} seeds.
"""

# %% [markdown]
r"""
## 8. Training and using are different trades

Training goes through the data again and again, forward and backward, in large batches, and changes the weights.
*Inference*, using the network, is one forward pass with weights that stay. What does each of them cost?
"""

# %% uses="dense cross_entropy gradients train"
macs = 784 * 128 + 128 * 10                     # multiply-accumulates of one picture, forward
step = 2 * macs + 128 * 10                      # forward and backward
training = epochs * len(x_train) * step


def forward(x):
    return dense(x, w1, b1) @ w2 + b2


batch = x_train[:32], y_train[:32]
times = {
    "forward, one picture": seconds(forward, x_train[:1]),
    "forward, one of 32": seconds(forward, batch[0]) / 32,
    "training step, one of 32": seconds(gradients, *batch, *weights) / 32,
}
for name, spent in times.items():
    work = step if "training" in name else macs
    print(f"{name:26s} {spent * 1e6:6.2f} µs  {2 * work / spent / 1e9:6.1f} GFLOP/s")
print(f"Training: {training / 1e9:.1f} billion multiplications, as many as for recognising "
      f"{training / macs:,.0f} pictures.")
spent = epochs * len(x_train) * times["training step, one of 32"]
print(f"Time: {spent:.2f} s, as much as for recognising "
      f"{spent / times['forward, one picture']:,.0f} pictures, one by one.")

# %% [markdown]
r"""
Compare the two counts in the last two lines. In multiplications, training pays for itself after some 400 000 pictures. In
time, sooner than that, if they come one by one: alone, each of them costs two or three times what it cost in the batch.
A network that many people use spends most of its life, and most of its energy, on inference, at the bad end of your plot.
"""

# %% [markdown] slide="slide"
r"""
## Training and inference

| | training | inference |
|---|---|---|
| passes | many, forward and backward | one, forward |
| weights | change | stay |
| batch | large, we choose | often 1, the user chooses |
| what counts | throughput | latency |
| this network | {{macs_training}} billion multiplications | {{macs_picture}} thousand a picture |

*D. K. Panda, H. Subramoni, A. Jain, High-Performance Deep Learning, Ohio State, 2020; counts: this lab*
"""

# %% [markdown] slide="notes"
r"""
Ask which of the two costs more in the life of a network. Training took 20 epochs of 10 000 pictures: as many
multiplications as recognising some 400 000. In time, recognising catches up sooner if pictures come one by one: alone,
each costs two or three times what it costs in the batch. Point at the row "batch": the user chooses, at the bad end of
the curve.
"""

# %% [markdown] slide="slide"
r"""
## What to take home

**A layer is a matrix product, a network is a few of them, and its gradient is a few more. Learning is sampling, forward,
backward, update, until it is good enough. A batch does not change the arithmetic; it lets every weight that was fetched
work for many pictures instead of one, and that is what a processor is fast at.**
"""

# %% [markdown]
r"""
Go back to the playground now. A border bends where it crosses the line of a neuron, where the ReLU has its corner: three
lines can close round a disc, two cannot. From some beginnings it fails although there are enough neurons: one that
answers to none of the points gets no gradient, and never comes back. And the loss wobbles because each step sees only 16
points.

## What you measured
"""

# %%
hpml.measured()

# %% [markdown]
r"""
## Further reading

- D. Rumelhart, G. Hinton, R. Williams: *Learning representations by back-propagating errors* (1986). Four pages, still
  the clearest.
- H. Xiao, K. Rasul, R. Vollgraf: *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms*
  (2017). Where the pictures come from, and what other methods reach on all 60 000 of them.
- K. He, X. Zhang, S. Ren, J. Sun: *Delving Deep into Rectifiers* (2015). Where the square root in `start` comes from.
"""
