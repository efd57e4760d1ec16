# %% [markdown] slide="slide"
r"""
# Averaging without a bottleneck

512 workers have computed a gradient of 100 MB each, and all of them need the average. If one worker collects, adds
and sends back, that takes {{gather_512}} on a network of 25 Gb/s. This notebook ends with a few lines that take
{{ring_512}}, {{ratio_512}} times less, on the same network. **No byte travels any faster.** What changes is how many
cables are busy at the same time: one, or all of them.
"""

# %% [markdown]
r"""
*You will*

- show that the mean of many small gradients *is* the gradient of one big minibatch, and when it is not;
- write an average over workers in four ways: through one worker, up and down a tree, around a ring, and in two levels;
- count messages, steps and bytes, and predict with two numbers, α and β, which way wins for which size;
- run the very same functions on simulated workers, on real processes, and beside Horovod;
- predict how far the model is from your machine, measure it, and explain the difference.

About 90 minutes. You need 02-neuron: minibatches, and the gradient of a softmax layer.
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, data, plots, predict, widgets

hpml.lab("10-allreduce")

# %% [markdown] slide="notes"
r"""
The two times of the title come from the formulas of section 5 with α = 20 µs and β = 0.32 ns per byte, which is 25 Gb/s.
Ask for guesses before you show them: most people expect that more workers make any average slower in proportion.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Training on many workers

- One step of training: draw a minibatch, forward, backward, update.
- **Data parallelism**: every worker has the whole model and a part of the minibatch. Forward and backward need no
  communication. Before the update, the gradients are averaged.
- Data are divided *shuffled* (every worker draws from all of them) or *without overlap* (every worker owns a part).
- Synchronous: everybody waits for the average. No stale variables, efficient protocols, good quality sooner.
- Then the average is the bottleneck. Or is it?

*V. Codreanu, SURFsara / PRACE, 2018; E. Rodrigues, High Performance Machine Learning, IBM Research, 2019*
"""

# %% [markdown]
r"""
## 1. Many workers, one gradient

The loss of a minibatch is a mean over its images, so its gradient is a mean, too: $g = \frac1B \sum_i g_i$. A sum does
not care who adds up which part. Divide the B images among N workers, $B_r$ of them for worker r, who computes
the mean of its own, $g^{(r)}$. Then

$$g \;=\; \frac1B \sum_{r} \sum_{i \in r} g_i \;=\; \sum_{r} \frac{B_r}{B}\; g^{(r)}.$$

Here it is on real images: one softmax layer, and 10 000 pieces of clothing from Fashion-MNIST.
"""

# %%
fashion = data.load("fashion-mnist-mini")
images = fashion.x_train.reshape(-1, 784).astype(np.float32) / 255
labels = fashion.y_train

def gradient(w, x, y):
    """Gradient of the mean cross-entropy of softmax(x @ w).

    w : (784, 10), x : (B, 784), y : (B,) classes.
    Returns (784, 10), the mean over the B images.
    """
    scores = x @ w
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return x.T @ p / np.float32(len(y))

w = np.zeros((784, 10), np.float32)
batch = np.random.default_rng(1).permutation(len(images))[:1000]
whole = gradient(w, images[batch], labels[batch])
parts = np.split(batch, 4)                                  # 250 images for each of 4 workers
each = np.stack([gradient(w, images[p], labels[p]) for p in parts])
print(f"largest entry of the gradient           {abs(whole).max():.4f}")
print(f"one worker alone is off by up to        {abs(each[0] - whole).max():.4f}")
print(f"the mean of four workers is off by      {abs(each.mean(axis=0) - whole).max():.1e}")

# %% [markdown]
r"""
The last line is rounding. So N workers with a minibatch of B/N each take *the same step* as one worker with B. That is
all there is to data parallelism, and everything else in this lab is about computing that mean quickly.

There is one trap in the formula. What if 1000 images are divided among 3 workers, or the last minibatch of an epoch
is short?

**Write `gradient_mean`.** It gets the gradients of all workers, stacked, and how many images each of them saw.
"""

# %% exercise="gradient_mean"
def gradient_mean(gradients, counts):
    """The gradient of all images together.

    gradients : (N, ...) float32; gradients[r] is the mean over the images of worker r
    counts : (N,) int64; how many images that were
    Returns an array like gradients[0], float32. About 2 lines.
    """
    ### BEGIN SOLUTION
    weights = (counts / counts.sum()).astype(gradients.dtype)
    return np.tensordot(weights, gradients, axes=1)
    ### END SOLUTION

# %% check="gradient_mean"
# The gradient of one class's weights, as an image: blue and orange pull in opposite directions.
check("gradient_mean")

# %% [markdown]
r"""
Does it stay the same for more than one step? Two networks start from the same weights. One is trained by a single
worker with minibatches of 500. The other is trained by three workers of unequal speed, who get 300, 150 and 50
images of every minibatch:
"""

# %% uses="gradient_mean"
alone, shared, wrongly = (np.zeros((784, 10), np.float32) for _ in range(3))
rng = np.random.default_rng(2)
apart, apart_wrongly = [], []
for _ in range(60):
    batch = rng.integers(len(images), size=500)
    alone -= 0.1 * gradient(alone, images[batch], labels[batch])
    shards = np.split(batch, [300, 450])
    counts = np.array([len(s) for s in shards])
    shared -= 0.1 * gradient_mean(
        np.stack([gradient(shared, images[s], labels[s]) for s in shards]), counts)
    wrongly -= 0.1 * np.mean([gradient(wrongly, images[s], labels[s]) for s in shards], axis=0)
    apart.append(abs(shared - alone).max())
    apart_wrongly.append(abs(wrongly - alone).max())

test = fashion.x_test.reshape(-1, 784).astype(np.float32) / 255
figure, axis = plots.figure(7, 3.2)
for name, found, weights in (("weighted by images", apart, shared),
                             ("every worker the same weight", apart_wrongly, wrongly)):
    accuracy = (np.argmax(test @ weights, axis=1) == fashion.y_test).mean()
    axis.semilogy(range(1, 61), np.maximum(found, 1e-9), label=f"{name}: {accuracy:.1%} right")
axis.set(xlabel="step", ylabel="largest difference of weights",
         title="Three workers against one")
axis.legend()
figure

# %% [markdown]
r"""
The lower curve is rounding, and stays rounding. The upper one is a different training run. It learns too, which is
why nobody notices such a mistake by looking at the loss.

### Who gets which images?

Two ways are in use. *Shuffled*: in every epoch each worker shuffles all the data by itself and takes the first N-th
part. *Non-overlapping*: they share one shuffle, and each takes another part of it. A third way comes for free with
files that were written class by class: worker 0 gets the T-shirts. What does each way do?
"""

# %%
def cosine(a, b):
    """1 where two gradients point the same way, 0 where they have nothing in common."""
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))

N = 4
rng = np.random.default_rng(3)
one_shuffle, by_class = rng.permutation(len(images)), np.argsort(labels, kind="stable")
ways = {
    "shuffled": [rng.permutation(len(images))[:len(images) // N] for _ in range(N)],
    "non-overlapping": np.split(one_shuffle, N),
    "class after class": np.split(by_class, N),
}
full = gradient(w, images, labels)
print("                    seen in       like the gradient of all the data")
print("                    an epoch      one worker       the average")
for name, owned in ways.items():
    minibatches = [rng.choice(o, 250, replace=False) for o in owned]
    each = np.stack([gradient(w, images[m], labels[m]) for m in minibatches])
    seen = len(np.unique(np.concatenate(owned))) / len(images)
    print(f"{name:18s} {seen:7.0%} {cosine(each[0], full):16.2f} "
          f"{cosine(each.mean(axis=0), full):17.2f}")

# %% [markdown] slide="slide"
r"""
## The average cannot see who had what

$$g \;=\; \sum_{r} \frac{B_r}{B}\; g^{(r)}$$

- Equal parts: a plain mean. Unequal parts: weighted by how many images each worker saw.
- Shuffled by every worker for itself: an epoch leaves out about $(1 - 1/N)^N \approx 1/e$ of the data, and sees others twice.
- Non-overlapping: every image once in an epoch. **The usual choice.**
- Class after class: each worker's gradient points somewhere else, and the average is right all the same.

**As long as everybody averages in every step, N workers are one worker with a minibatch N times as large.**
"""

# %% [markdown] slide="notes"
r"""
Ask first: three workers had 300, 150 and 50 images, and average with equal weights; does anybody notice? The loss still
falls: only the notebook's plot of the weights shows that this is a different training run. For "shuffled", do 4 workers
aloud: an image is left out by all of them with probability (3/4)⁴, about a third. Then point at "class after class": each
worker alone is wrong, and the mean is right. From here on, everything is about computing that mean quickly.
"""

# %% [markdown]
r"""
## 2. Five words

Now to the average itself. Every worker runs *the same program* and finds out from its number, its **rank**, what to
do. It owns its arrays; nobody else can read them. To move numbers, one rank sends and another receives. The words are
those of MPI, the standard since 1994, as Python's `mpi4py` spells them:

| | |
|---|---|
| `comm.rank`, `comm.size` | who am I, and how many are we |
| `comm.Send(array, dest=3)` | send this array to rank 3 |
| `comm.Recv(array, source=3)` | wait for an array from rank 3 and write it into this one |
| `comm.Sendrecv(out, dest=3, recvbuf=into, source=5)` | both at the same time |

An array to receive into has to exist before, with the right shape and dtype: `np.empty_like(x)` makes one.

We begin on **simulated** workers. `simulate` runs a function once for each rank, delivers the messages, counts them,
and keeps a clock. Read the program as rank 0, then as rank 2:
"""

# %%
from hpml.distributed import Link, simulate, switch

cable = Link(alpha=20e-6, beta=0.32e-9)     # seconds for a message, seconds for a byte

def pass_on(comm, x):
    """Everybody's number wanders to the right, once around."""
    total = x.copy()
    for _ in range(comm.size - 1):
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        into = np.empty_like(x)
        comm.Sendrecv(x, dest=right, recvbuf=into, source=left)
        x = into
        total += x
    return total

numbers = [(np.array([10.0 ** r], np.float32),) for r in range(4)]
run = simulate(pass_on, numbers, switch(4, cable))
print("results: ", [float(result[0]) for result in run.results])
print("counters:", run.counters())

# %% [markdown]
r"""
It even is an allreduce: at the end every rank has the sum of all. We shall do better.

### A clock with two numbers

The simulator's clock knows two things about a cable. α is the *latency*: what a message costs before its first byte
arrives. β is the time for one byte, the inverse of the bandwidth. A message of n bytes takes

$$T(n) \;=\; \alpha + \beta\,n.$$

A rank has one port in each direction: it sends one message after another and receives one after another, but it can
send and receive at once. Nothing else costs time, not even the additions. **Our cable** has α = 20 µs and
β = 0.32 ns per byte, which is 25 Gb/s, an ordinary network between machines.

This draws what happened: ranks downwards, time to the right, an arrow for every message from where and when it left
to where and when it had arrived.
"""

# %%
def draw(axis, run, title, until=None):
    """Rank × time: an arrow for each message of a simulated run."""
    for m in run.messages:
        axis.annotate("", (m.arrived * 1e3, m.dest), (m.sent * 1e3, m.source),
                      arrowprops={"arrowstyle": "-|>", "color": plots.CYCLE[0],
                                  "shrinkA": 0, "shrinkB": 0, "linewidth": 1.3})
    ranks = run.network.size
    axis.set(xlim=(0, (until or run.network.seconds * 1e3) * 1.02), ylim=(ranks - 0.5, -0.5),
             yticks=range(ranks), ylabel="rank", xlabel="time, ms", title=title)

figure, axis = plots.figure(6, 2.2)
draw(axis, run, f"4 numbers, once around: {run.network.seconds * 1e6:.0f} µs")
figure

# %% [markdown]
r"""
## 3. Collect and hand out

The first idea of everybody: rank 0 receives the arrays one by one, adds them up, divides, and sends the average to
everybody.

**Write `gather_broadcast`.** The same function runs on every rank, so it needs an `if`.
"""

# %% exercise="gather_broadcast"
def gather_broadcast(comm, x):
    """The mean of x over all ranks, through rank 0.

    x : (n,) float32, different on every rank. Returns the mean, (n,) float32, on every rank.
    About 10 lines. 2(N-1) messages.
    """
    ### BEGIN SOLUTION
    if comm.rank > 0:
        comm.Send(x, dest=0)
        mean = np.empty_like(x)
        comm.Recv(mean, source=0)
        return mean
    total, incoming = x.copy(), np.empty_like(x)
    for source in range(1, comm.size):
        comm.Recv(incoming, source=source)
        total += incoming
    mean = total / comm.size
    for dest in range(1, comm.size):
        comm.Send(mean, dest=dest)
    return mean
    ### END SOLUTION

# %% check="gather_broadcast"
# Left: the messages that are wanted. Right: whose numbers have arrived in whose result.
check("gather_broadcast")

# %% [markdown]
r"""
Eight ranks, 1 MB each. Look at the picture and count, at any moment, how many cables are in use:
"""

# %% uses="gather_broadcast"
def vectors(ranks, n, seed=0):
    """A different random array of n float32 for every rank, as `simulate` takes them."""
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(n, dtype=np.float32),) for _ in range(ranks)]

run = simulate(gather_broadcast, vectors(8, 250_000), switch(8, cable))
figure, axis = plots.figure(8, 2.8)
draw(axis, run, f"gather_broadcast: {run.network.seconds * 1e3:.2f} ms, "
                f"{run.counters()['steps']:.0f} steps")
figure

# %% [markdown] slide="slide"
r"""
## One worker's cable is the bottleneck

$$T_\text{gather} \;=\; 2\,(N-1)\,(\alpha + \beta n)$$

- Rank 0 receives N − 1 arrays through one port, and sends N − 1 through one port.
- All other cables do nothing most of the time.
- Twice the workers, twice the time. 512 workers, 100 MB, 25 Gb/s: **{{gather_512}} for one step** of training.

A *parameter server* is this, with more machines in the place of rank 0.
"""

# %% [markdown] slide="notes"
r"""
Do the sum with them: 100 MB at 0.32 ns a byte are 32 ms, and 2 · 511 = 1022 such messages pass rank 0's port one after
another. That is {{gather_512}}; the 20 µs of α do not show. A faster computer for rank 0 is the tempting remedy. It
changes nothing: this clock charges nothing for additions. Ask instead which cables could work while rank 0 listens to
rank 1; the answer is the next slide.
"""

# %% [markdown]
r"""
## 4. A tree

While rank 0 listens to rank 1, rank 2 could listen to rank 3. Then rank 2, who now speaks for two, tells rank 0. Every
round halves the number of ranks that still have something to tell:

- distance 1: rank 1 → 0, 3 → 2, 5 → 4, 7 → 6
- distance 2: rank 2 → 0, 6 → 4
- distance 4: rank 4 → 0

Then the same way back, in the opposite order: 0 → 4, then 0 → 2 and 4 → 6, and so on. With N ranks there are
$\lceil \log_2 N\rceil$ rounds up and as many down.

**Write `tree_allreduce`.** N need not be a power of two: a rank whose partner does not exist has a round off. In which
round does a rank with number r send? Write down 0 to 7 in binary, and look at the last 1.
"""

# %% exercise="tree_allreduce"
def tree_allreduce(comm, x):
    """The mean of x over all ranks, up a binary tree and down again.

    x : (n,) float32, different on every rank. Returns the mean, (n,) float32, on every rank.
    About 15 lines. At most 2*ceil(log2 N) steps, for every N; no rank sends more than
    ceil(log2 N) arrays.
    """
    ### BEGIN SOLUTION
    N, r = comm.size, comm.rank
    total, incoming = x.copy(), np.empty_like(x)
    distance = 1
    while distance < N:
        if r % (2 * distance):                  # r sends up, and gets the result the same way
            comm.Send(total, dest=r - distance)
            comm.Recv(total, source=r - distance)
            break
        if r + distance < N:
            comm.Recv(incoming, source=r + distance)
            total += incoming
        distance *= 2
    while distance > 1:                             # down: the same partners, in opposite order
        distance //= 2
        if r + distance < N:
            comm.Send(total, dest=r + distance)
    return total / N
    ### END SOLUTION

# %% check="tree_allreduce"
check("tree_allreduce")

# %% [markdown]
r"""
The same eight ranks and the same 1 MB, on the same scale of time:
"""

# %% uses="gather_broadcast tree_allreduce"
runs = {f.__name__: simulate(f, vectors(8, 250_000), switch(8, cable))
        for f in (gather_broadcast, tree_allreduce)}
until = max(run.network.seconds for run in runs.values()) * 1e3
figure, axes = plots.figure(8, 5, rows=2)
for axis, (name, run) in zip(axes, runs.items(), strict=True):
    draw(axis, run, f"{name}: {run.network.seconds * 1e3:.2f} ms", until)
figure

# %% [markdown] slide="slide"
r"""
## Up a tree, and down

$$T_\text{tree} \;=\; 2\,\lceil\log_2 N\rceil\,(\alpha + \beta n)$$

- Twice the workers, *two steps* more. For 512 workers and 100 MB: {{tree_512}} in place of {{gather_512}}.
- For a short array nothing beats it: it pays the fewest latencies.
- But in the last round of the way up, two ranks of N are working. And every message still is the **whole array**.
"""

# %% [markdown] slide="notes"
r"""
Let them pair up eight ranks themselves before you show the formula. Then the same sum again: 9 rounds up and 9 down,
18 messages of 32 ms in place of 1022, and so {{tree_512}}. Ask how many of eight ranks have anything to do in the last
round up: two. That, and the whole array in every message, is what is still wasted. The way out: let every rank be the
root of its own part.
"""

# %% [markdown]
r"""
## 5. A ring

Cut the array into N chunks, and let every chunk have *its own* root. Chunk 0 is to end on rank 0, chunk 1 on rank 1,
and so on. Put the ranks into a circle, where each only ever sends to its right neighbour. Chunk r sets out from rank
r + 1, travels to the right, and at every stop that rank's numbers are added to it. After N − 1 stops it reaches rank r,
with everybody's numbers in it. All N chunks travel at the same time, each one step behind the next, so every cable is
busy in every step.

That is the first half, called **reduce-scatter**. The second half, **all-gather**, is the same journey without adding:
the finished chunks go around once more, until everybody has all of them. Step through it:
"""

# %%
widgets.ring(ranks=4)

# %% [markdown] only="slides" slide="slide"
r"""
## A ring

![Four ranks in a ring after two steps: in every step each sends one chunk to its right](figures/ring.svg)

Every chunk has its own root, and every cable is busy in every step.
"""

# %% [markdown] slide="notes"
r"""
The picture is taken after two of six steps; a thick frame is what a rank has just received, and 3/4 means that three of
four workers are in this sum. Ask where the chunk of rank 3 that says 3/4 goes next, and what it is then: chunk 0, to
rank 0, complete. Point at the two bars below: so far every rank has sent half an array, and a root sends three in all.
Have them write down what each rank will have sent after both halves, for eight ranks; the next slide has it.
"""

# %% [markdown]
r"""
**Predict.** Eight ranks, an array of 8 MB on each. How much does each rank *send* in both halves together, as a multiple
of its array?
"""

# %% predict="ring_bytes"
predict("ring_bytes", 1.75)

# %% check="ring_bytes"
check("ring_bytes")

# %% [markdown] slide="slide"
r"""
## Hardly more than your own array, twice

In each half a rank sends all chunks but one. Together

$$2\,\frac{N-1}{N}\;n \quad\text{bytes:}\qquad N=8:\ 1.75\,n,\qquad N=512:\ {{ring_multiple}}\,n .$$

However many workers there are, nobody sends more than **twice its own array**. And nobody can send less: to average
arrays that differ in every number, at least this much has to leave every rank, if all share the work equally.

*P. Patarasuk, X. Yuan, Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations, 2009*
"""

# %% [markdown] slide="notes"
r"""
Collect the written predictions first. A usual slip is 0.875: that is one half of the journey, seven chunks of eight. For
512 workers the multiple is {{ring_multiple}}; what grows with N is not the bytes but the number of steps, 2(N − 1), and
each of them costs α. So ask: is the ring always best? The lower bound is Patarasuk and Yuan's.
"""

# %% [markdown]
r"""
**Write `reduce_scatter`.** `np.array_split(x, N)` cuts an array into N chunks and copes with any length: some chunks are
then one number longer, and for very short arrays some are empty. The chunks are *views*. So cut a copy of x, or
you write into the caller's array.

To find the indices, take rank r and go backward: chunk r arrives last. Which one arrives before that? Which one does
it send first? Indices are modulo N, and Python's `%` does the right thing with negative numbers.
"""

# %% exercise="reduce_scatter"
def reduce_scatter(comm, x):
    """Once around the ring: chunk r of the sum over all ranks, on rank r.

    x : (n,) float32. Returns np.array_split(sum over ranks, comm.size)[comm.rank].
    About 8 lines. N-1 steps; in each, every rank sends one chunk to its right neighbour.
    """
    ### BEGIN SOLUTION
    N, r = comm.size, comm.rank
    chunks = np.array_split(x.copy(), N)
    for step in range(N - 1):
        out, into = (r - step - 1) % N, (r - step - 2) % N
        incoming = np.empty_like(chunks[into])
        comm.Sendrecv(chunks[out], dest=(r + 1) % N, recvbuf=incoming, source=(r - 1) % N)
        chunks[into] += incoming
    return chunks[r]
    ### END SOLUTION

# %% check="reduce_scatter"
check("reduce_scatter")

# %% [markdown]
r"""
What if everybody calls `Recv` first, and `Send` after that? Then everybody waits for a message that nobody has sent yet.
That is a *deadlock*. The simulator sees it at once; a real cluster would sit there until your time is up:
"""

# %%
def polite(comm, x):
    """After you. No, after you."""
    incoming = np.empty_like(x)
    comm.Recv(incoming, source=(comm.rank - 1) % comm.size)
    comm.Send(x, dest=(comm.rank + 1) % comm.size)
    return incoming

try:
    simulate(polite, vectors(4, 10), switch(4, cable))
except Exception as error:
    print(error)

# %% [markdown]
r"""
And `Send` first? On our simulator that works, since a message that was sent waits for its receiver. A real MPI does the
same for *short* messages only. A long one stays with the sender until its receiver asks, so that everybody sends first,
and nobody ever receives: a program that passes its tests with ten numbers and hangs with ten million. `Sendrecv` is made
for this.

**Write the second half, `all_gather`, and put the ring together.** Now a chunk that arrives is finished: it takes its
place in the whole array. An array from `np.empty(n, dtype)`, cut by `np.array_split`, gives you the places to receive
into. Divide at the very end, once.
"""

# %% exercise="ring_allreduce"
def all_gather(comm, chunk, n):
    """Once more around the ring: everybody's chunks, on every rank.

    chunk : chunk r, on rank r, of an array of n numbers cut by np.array_split.
    Returns the whole array, (n,). About 7 lines, N-1 steps.
    """
    ### BEGIN SOLUTION
    N, r = comm.size, comm.rank
    whole = np.empty(n, chunk.dtype)
    places = np.array_split(whole, N)
    places[r][:] = chunk
    for step in range(N - 1):
        out, into = (r - step) % N, (r - step - 1) % N
        comm.Sendrecv(places[out], dest=(r + 1) % N, recvbuf=places[into], source=(r - 1) % N)
    return whole
    ### END SOLUTION

def ring_allreduce(comm, x):
    """The mean of x over all ranks, twice around a ring.

    x : (n,) float32, different on every rank. Returns the mean, (n,) float32, on every rank.
    1 line, with reduce_scatter and all_gather.
    """
    ### BEGIN SOLUTION
    return all_gather(comm, reduce_scatter(comm, x), x.size) / comm.size
    ### END SOLUTION

# %% check="ring_allreduce"
check("ring_allreduce")

# %% uses="gather_broadcast tree_allreduce reduce_scatter ring_allreduce"
runs = {f.__name__: simulate(f, vectors(8, 250_000), switch(8, cable))
        for f in (gather_broadcast, tree_allreduce, ring_allreduce)}
until = max(run.network.seconds for run in runs.values()) * 1e3
figure, axes = plots.figure(8, 7, rows=3)
for axis, (name, run) in zip(axes, runs.items(), strict=True):
    draw(axis, run, f"{name}: {run.network.seconds * 1e3:.2f} ms", until)
figure

# %% [markdown]
r"""
Fourteen steps, as many as gather-and-broadcast has. But each of them moves an eighth of the array, on all eight cables
at once.

## 6. Which one, when?

All three in one table, for N ranks and n bytes:

| | time |
|---|---|
| through one rank | $2\,(N-1)\,(\alpha + \beta n)$ |
| tree | $2\,\lceil\log_2 N\rceil\,(\alpha + \beta n)$ |
| ring | $2\,(N-1)\,(\alpha + \beta n/N)$ |

The ring has the smallest β part, and it pays α in every one of its 2(N − 1) steps. The tree pays α least often. So for
short arrays the tree is ahead, and for long ones the ring.

**Predict.** Eight ranks, α = 20 µs, β = 0.32 ns per byte. From how many **kB** on does the ring win? (1 kB is 1000 bytes.
Paper and pencil are fine.)
"""

# %% predict="crossover"
predict("crossover", 117.6)

# %% check="crossover"
check("crossover")

# %% [markdown]
r"""
Lines are the formulas, dots are *your* functions on the simulated network:
"""

# %% uses="gather_broadcast tree_allreduce reduce_scatter ring_allreduce"
def gather_time(N, n, a=cable.alpha, b=cable.beta):
    return 2 * (N - 1) * (a + b * n)

def tree_time(N, n, a=cable.alpha, b=cable.beta):
    return 2 * np.ceil(np.log2(N)) * (a + b * n)

def ring_time(N, n, a=cable.alpha, b=cable.beta):
    return 2 * (N - 1) * (a + b * n / N)

N, sizes = 8, np.geomspace(1e3, 1e9, 2000)
dots = [2_000, 20_000, 200_000, 2_000_000]                      # bytes
figure, axis = plots.figure(8, 4.4)
for mark, function, formula in zip("so^", (gather_broadcast, tree_allreduce, ring_allreduce),
                                   (gather_time, tree_time, ring_time), strict=True):
    line, = axis.loglog(sizes, formula(N, sizes) * 1e3)
    seconds = [simulate(function, vectors(N, n // 4), switch(N, cable)).network.seconds
               for n in dots]
    axis.loglog(dots, [s * 1e3 for s in seconds], mark, color=line.get_color(),
                mec="white", label=function.__name__)
meet = sizes[np.argmax(ring_time(N, sizes) < tree_time(N, sizes))]
axis.axvline(meet, color="0.5", ls=":")
axis.annotate(f"{meet / 1e3:.0f} kB", (meet * 1.15, 60), fontsize=11)
axis.set(xlabel="array, bytes", ylabel="time, ms", title="8 ranks on 25 Gb/s")
axis.legend()
figure

# %% [markdown] only="slides" slide="slide"
r"""
## Which one, when?

![Time against the size of the array, for 8 ranks on 25 Gb/s](figures/sizes.svg)

Short arrays cost latencies, long arrays cost bytes. Libraries measure, and switch from one way to the other.
"""

# %% [markdown] slide="notes"
r"""
Ask for the kilobytes before you show the figure. Formulas only, no measurement. Point at the left end, where nobody pays
for bytes: the tree pays α 6 times, the ring and the way through one rank 14 times, so those two start at the same 280 µs.
At the right end all lines have the same slope, and the ring's is the lowest. Up to here all cables were equal; in a
machine with several devices to a node they are not.
"""

# %% [markdown]
r"""
## 7. Two levels

Real machines have two kinds of links. Inside a node, eight or so devices share a fast one. Between nodes there is the
cable, *one* for all the devices of the node. Here is such a machine: 50 GB/s inside, our cable between.

A flat ring takes no notice. It crosses from node to node in every one of its 2(N − 1) steps, and each step waits for the
slowest link. The remedy: **first add up inside the node, then between nodes, and let no number cross the cable that could
have been added to another one before.**

1. Reduce-scatter *inside* each node. Now device i of every node has chunk i of its node's sum.
2. Allreduce *across* nodes: device i averages its chunk with the devices i of all the other nodes.
3. All-gather *inside* the node.

The first and last step move nearly the whole array, over fast links. The middle one moves an L-th part of it for each of
the L devices of a node, over the slow one. This is how reductions run on a mesh or a torus, one dimension after another:
the early dimensions carry more, the later ones less.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Two levels: first inside, then across

- Inside a node: many devices, fast links. Between nodes: one cable for all of them.
- Reduce-scatter inside, allreduce across on 1/L of the array for each device, all-gather inside.
- Gloo splits its collectives into intra-machine and inter-machine stages; IBM's DDL does the same along the dimensions of a
  mesh or torus: **early dimensions carry more data over fast links, later ones less over slow links.**
- And none of it has to wait for the end: each layer's gradient can travel while backward goes on.

*V. Codreanu, SURFsara / PRACE, 2018; E. Rodrigues, IBM Research, 2019*
"""

# %% [markdown]
r"""
You have all the parts. What you need is a communicator for *some* of the ranks. MPI makes one with `comm.Split`. Ours is
short enough to read; its ranks are numbered anew from 0:
"""

# %% given="Group"
class Group:
    """Some ranks of a communicator, in this order, with the same calls."""

    def __init__(self, comm, ranks):
        self.comm, self.ranks = comm, list(ranks)
        self.rank, self.size = self.ranks.index(comm.rank), len(self.ranks)

    def Send(self, buf, dest, tag=0):
        self.comm.Send(buf, dest=self.ranks[dest], tag=tag)

    def Recv(self, buf, source, tag=0):
        self.comm.Recv(buf, source=self.ranks[source], tag=tag)

    def Sendrecv(self, sendbuf, dest, sendtag=0, recvbuf=None, source=0, recvtag=0):
        self.comm.Sendrecv(sendbuf, dest=self.ranks[dest], sendtag=sendtag, recvbuf=recvbuf,
                           source=self.ranks[source], recvtag=recvtag)

# %% [markdown]
r"""
**Write `two_level_allreduce`.** Ranks 0 to L − 1 are on the first node, the next L on the second, and so on; there are always
as many on each. So with L = 4, rank 6 is device 2 of node 1. Its mates in the node are 4, 5, 6 and 7, its peers on the other
nodes are 2, 6, 10, …
"""

# %% exercise="two_level_allreduce"
def two_level_allreduce(comm, x, per_node):
    """The mean of x over all ranks, first inside the nodes and then between them.

    x : (n,) float32, different on every rank; per_node : ranks on each node.
    Returns the mean, (n,) float32, on every rank.
    About 6 lines, with Group, reduce_scatter, ring_allreduce and all_gather.
    With M nodes, no more than 2(M-1)/M of the array leaves a node.
    """
    ### BEGIN SOLUTION
    node, device = divmod(comm.rank, per_node)
    mates = Group(comm, range(node * per_node, (node + 1) * per_node))
    peers = Group(comm, range(device, comm.size, per_node))
    chunk = reduce_scatter(mates, x)
    chunk = ring_allreduce(peers, chunk)            # the mean over nodes of the sums of nodes
    return all_gather(mates, chunk, x.size) / per_node
    ### END SOLUTION

# %% check="two_level_allreduce"
# Thick arrows cross between nodes.
check("two_level_allreduce")

# %% [markdown]
r"""
Four nodes of four. Left, your four functions on this machine. Right, the formulas for 100 MB on more and more workers, four
to a node:
"""

# %% uses="gather_broadcast tree_allreduce reduce_scatter ring_allreduce two_level_allreduce"
from hpml.distributed import two_level

inside = Link(alpha=2e-6, beta=0.02e-9)
cluster = two_level(nodes=4, per_node=4, fast=inside, slow=cable)
ways = {
    "gather_broadcast": gather_broadcast,
    "tree_allreduce": tree_allreduce,
    "ring_allreduce": ring_allreduce,
    "two_level_allreduce": lambda comm, x: two_level_allreduce(comm, x, 4),
}
dots = np.array([400, 4_000, 40_000, 400_000, 4_000_000])
figure, (left, right) = plots.figure(10, 4.2, columns=2)
for mark, (name, function) in zip("so^D", ways.items(), strict=True):
    seconds = [simulate(function, vectors(16, n // 4), cluster).network.seconds for n in dots]
    left.loglog(dots, np.array(seconds) * 1e3, mark + "-", mec="white", label=name)
left.set(xlabel="array, bytes", ylabel="time, ms", title="16 ranks on 4 nodes, simulated")
left.legend(fontsize=9.5)

def two_level_time(N, n, L=4):
    """Inside, across, inside; a node's cable carries 2(M-1)/M of the array."""
    M = N / L
    within = 2 * (L - 1) * (inside.alpha + inside.beta * n / L)
    return within + 2 * (M - 1) * (cable.alpha + cable.beta * n / M)

ranks, n = 2 ** np.arange(3, 10), 1e8
formulas = (gather_time, tree_time, ring_time, two_level_time)
sides = ("center", "center", "bottom", "top")
for mark, side, formula in zip("so^D", sides, formulas, strict=True):
    times = formula(ranks, n)
    right.loglog(ranks, times, mark + "-", mec="white")
    right.annotate(f"{times[-1]:.2g} s", (ranks[-1] * 1.1, times[-1]), va=side, fontsize=10)
right.set_xticks(ranks, ranks)
right.set(xlim=(7, 1100), xlabel="workers", ylabel="time, s", title="100 MB, formulas")
figure

# %% [markdown] only="slides" slide="slide"
r"""
## 512 workers

![Time to average 100 MB against the number of workers](figures/workers.svg)

Through one worker: {{gather_512}}. Tree: {{tree_512}}. Ring: {{ring_512}}. Two levels, four workers to a node: {{two_level_512}}.
The last two hardly grow with the number of workers: what is left of the growth is latency.
"""

# %% [markdown] slide="notes"
r"""
Nothing here was measured: these are the formulas, 20 µs and 25 Gb/s between nodes, 50 GB/s inside. Ask why the ring's
curve grows at all, when nobody sends more than twice the array: 1022 steps of 20 µs are 20 of its {{ring_512}}. Two levels
cross between nodes in only 254 steps, and so pay 5 ms of latency. Whether {{two_level_512}} is much depends on the step of
training around it; the next slide has two networks.
"""

# %% [markdown]
r"""
### What 512 GPUs said

Horovod's authors published how efficiently it trains on 512 GPUs over 25 Gb/s: 90 % for Inception V3 and ResNet-101, 68 % for
VGG-16. Take the bytes of the gradients, and assume 128 nodes of 4 GPUs with one such link each. What does the network alone
need, for each step?
"""

# %%
published = {"ResNet-101": (178e6, "90 %"), "VGG-16": (553e6, "68 %")}
for name, (n, efficiency) in published.items():
    M = 128
    bound = 2 * (M - 1) / M * cable.beta * n
    print(f"{name:11s} {n / 1e6:4.0f} MB: 2(M-1)/M · β · n = {bound * 1e3:4.0f} ms a step; "
          f"published efficiency {efficiency}")

# %% [markdown] slide="slide"
r"""
## Why VGG-16 scales worse than ResNet-101

| | gradient | bound of the ring, 25 Gb/s | efficiency on 512 GPUs |
|---|---|---|---|
| Inception V3, ResNet-101 | 178 MB (ResNet-101) | {{resnet_bound}} ms | 90 % |
| VGG-16 | 553 MB | {{vgg_bound}} ms | 68 % |

VGG-16 has three times the bytes to average in every step. The efficiencies are published; the bounds are ours, from bytes and
β alone, for 128 nodes of 4 GPUs with one link each. How much of that time hides behind backward decides the rest.

*A. Sergeev, M. Del Balso, Horovod, 2018, and its documentation*
"""

# %% [markdown] slide="notes"
r"""
Ask for reasons first: the same GPUs, the same network, 90 and 68 %. Keep the two sources apart: the efficiencies are
Horovod's, the milliseconds are ours, and "128 nodes of 4 GPUs with one link each" is our assumption, so say it aloud.
Somebody will want to compute the 68 % from the {{vgg_bound}} ms. That does not work, because a part of the time hides
behind backward.
"""

# %% [markdown] slide="slide"
r"""
## 8. The same function, on real processes

- A simulated rank is a thread that takes turns. A real one is a process of its own, with its own memory.
- The calls are those of mpi4py. So `ring_allreduce` runs on real processes **as it stands**, on two of a laptop as on 2000 of
  a cluster.
- The real clock knows more than two numbers.
"""

# %% uses="reduce_scatter ring_allreduce"
from hpml.distributed import run_mpi

x = vectors(2, 1_000_000)
simulated = simulate(ring_allreduce, x, switch(2, cable))
real = run_mpi(ring_allreduce, x)
print("the same result:", np.allclose(simulated.results, real.results))

# %% [markdown]
r"""
Two processes of one machine are linked by its memory. What are *their* α and β? Play ping-pong: rank 0 sends an array, rank 1
sends one back, and half of that time is one message. The next cell holds the clock: the best of 25 turns, for a message and
for any way to average.

We also want to know what a rank does *besides* messages. `Silent` is a communicator that does nothing: no message is sent, and
the time that is left is the rank's own.
"""

# %% given="clocked"
SIZES = [4_000 * 4 ** k for k in range(6)]                      # bytes: 4 kB to 4 MB

class Silent:
    """A communicator whose messages take no time and carry nothing."""

    def __init__(self, comm):
        self.rank, self.size = comm.rank, comm.size

    def Send(self, *args, **names):
        pass

    Recv = Sendrecv = Send

def clocked(comm, ways):
    """Seconds of one message, then of each way to average, on two ranks.

    A row for each of SIZES.
    """
    import time

    def ping_pong(comm, x):
        if comm.rank == 0:
            comm.Send(x, dest=1)
            comm.Recv(other, source=1)
        else:
            comm.Recv(other, source=0)
            comm.Send(x, dest=0)

    rows = []
    for size in SIZES:
        x = np.full(size // 4, comm.rank, np.float32)
        other = np.zeros_like(x)
        calls = max(1, min(50, 500_000 // size))                # short ones many times
        best = [float("inf")] * (1 + len(ways))
        for _turn in range(25):
            for k, way in enumerate([ping_pong, *ways]):
                comm.Barrier()
                began = time.perf_counter()
                for _ in range(calls):
                    way(comm, x)
                comm.Barrier()
                best[k] = min(best[k], (time.perf_counter() - began) / calls)
        rows.append([best[0] / 2, *best[1:]])
    return rows

# %%
sizes = np.array(SIZES)
messages = np.array(run_mpi(clocked, [([],)] * 2).results[0])[:, 0]
b, a = np.polyfit(sizes, messages, 1, w=1 / messages)       # the least relative errors
print(f"two processes here: α = {a * 1e6:.1f} µs, "
      f"β = {b * 1e9:.3f} ns a byte ({1e-9 / b:.0f} GB/s)")
print(f"the formula for a ring of 2 ranks and 64 kB: {ring_time(2, 64_000, a, b) * 1e6:.1f} µs")

# %% [markdown]
r"""
**Predict.** You will measure this ring, 2 ranks and 64 kB. By what **factor** is that longer than the formula says? A factor of 1
would mean that messages are all there is. Go through `reduce_scatter` and `all_gather` and count the calls of NumPy, on one rank.
Even the cheapest of them costs about a microsecond.
"""

# %% predict="real_factor"
predict("real_factor", 3.5)

# %% check="real_factor"
# The referee plays the same ping-pong, and runs our ring on two real processes.
check("real_factor")

# %% [markdown]
r"""
Now yours. Circles are what the clock says, the line is the formula with your machine's α and β, and diamonds are the same ring
on `Silent`, all of it but the messages:
"""

# %% uses="reduce_scatter ring_allreduce"
def silent_ring(comm, x):
    return ring_allreduce(Silent(comm), x)

rows = np.array(run_mpi(clocked, [([ring_allreduce, silent_ring],)] * 2).results[0])
measured, own = rows[:, 1], rows[:, 2]
promise = ring_time(2, sizes, a, b)

figure, (left, right) = plots.figure(10, 4.2, columns=2)
left.loglog(sizes, measured * 1e3, "o", ms=9, mec="white", label="measured")
left.loglog(sizes, promise * 1e3, "-", label="2(N-1)(α + βn/N)")
left.loglog(sizes, own * 1e3, "D:", ms=5, lw=1.2, label="on Silent: no messages")
left.loglog(sizes, (promise + own) * 1e3, "--", color=plots.INK, lw=1.4,
            label="formula + Silent")
left.set(xlabel="array, bytes", ylabel="time, ms", title="ring, 2 real processes")
left.legend(fontsize=9.5)
right.semilogx(sizes, measured / promise, "o-", mec="white", label="measured / formula")
right.semilogx(sizes, measured / (promise + own), "s--", color=plots.INK, mec="white",
               label="measured / (formula + Silent)")
right.axhline(1, color="0.5", lw=1)
right.set(xlabel="array, bytes", ylabel="factor", ylim=(0, None), title="how far off?")
right.legend(fontsize=9.5)
figure

# %% [markdown]
r"""
**Explain.** Where does the formula hold on your machine, and where does it fail? What takes the rest of the time: name at least
two costs that α + βn leaves out, and say how you know. Use numbers from your plot and from your verdict. Four to eight
sentences.
"""

# %% [markdown] manual="explain_gap"
r"""
On my machine two processes have α = {{alpha}} and {{bandwidth}}, so the formula promises {{formula_us}} for 64 kB. I measured
{{measured_us}}, {{real_factor}} times as long. On `Silent`, without any message, the same ring takes {{own_us}}: formula and
Silent together are {{explained}} % of what I measured. So for short arrays the rest is the price of Python and NumPy, some twenty calls
for each allreduce, which is the same for 4 kB, where the factor is {{short_factor}}. Towards larger arrays the calls matter less, and
the factor falls first. For {{large_mb}} MB it is {{large_factor}} all the same, and Silent alone takes {{large_own}} % of the time:
copying x, adding and dividing read and write the whole array. They also ask for fresh memory, which the system hands out page by
page when it is first written to. The ping-pong used its two buffers again and again, and on Silent nobody writes into the buffers
to receive into, so this cost is in neither of the two. Besides, both directions between two processes go through one memory, where
the formula lets a rank send and receive at full speed at once.
"""

# %% [markdown]
r"""
### Beside Horovod

The labs to come use a library for this. Horovod's ring is written in C++ and runs in a thread of its own. Does it compute the same,
and how long does it take?
"""

# %% uses="reduce_scatter ring_allreduce"
from hpml.distributed import run_ranks


def horovod_allreduce(sizes):
    """Seconds of Horovod's allreduce, best of nine, and what it returns.

    A row for each size.
    """
    import time

    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    rows = []
    for size in sizes:
        x, best = tf.fill([size // 4], float(hvd.rank())), float("inf")
        for _turn in range(9):
            hvd.allreduce(tf.zeros(1), name="ready")            # serves as a barrier
            began = time.perf_counter()
            mean = hvd.allreduce(x, op=hvd.Average, name=f"x{size}").numpy()
            best = min(best, time.perf_counter() - began)
        rows.append((best, float(mean[0]), float(mean[-1])))
    return rows

horovod = np.array(run_ranks(horovod_allreduce, 2, args=(SIZES,))[0])
ours = run_mpi(ring_allreduce, [(np.full(1000, r, np.float32),) for r in range(2)]).results[0]
print("the same mean of 0 and 1:", float(ours[0]), "and", *set(horovod[:, 1:].ravel()))
for size, mine, theirs in zip(SIZES, measured, horovod[:, 0], strict=True):
    print(f"{size / 1e3:8.0f} kB: "
          f"your ring {mine * 1e3:7.3f} ms, Horovod {theirs * 1e3:7.3f} ms")

# %% [markdown]
r"""
For short arrays Horovod is slow *on purpose*: its thread wakes up every millisecond, to see whether there is more than one array to
average, and puts them together. Why that pays is the subject of 12-fusion. For long arrays it uses the same buffers from one call
to the next, where yours asks for fresh memory every time. Try it: make your buffers once, outside of the function, and run the clock
again.

One line through all sizes is a rough model of a real link, too. `./course bench allreduce` fits an α and a β for each *range* of
sizes, and shows how near that comes.
"""

# %% [markdown] slide="slide"
r"""
## A model of messages, and a machine

{{here}}: α = {{alpha}}, {{bandwidth}}. A ring of 2 ranks:

| | 64 kB | {{large_mb}} MB |
|---|---|---|
| measured | {{measured_us}} | {{large_ms}} |
| as a multiple of the formula | {{real_factor}} | {{large_factor}} |
| Horovod | {{horovod_us}} | {{horovod_large}} |

**α and β are the price of the network. Copies, additions and fresh memory are the price of the program.**
"""

# %% [markdown] slide="notes"
r"""
Measured on {{here}}: the best of 25 turns. Have the predictions of the factor for 64 kB ready before you show
the table, and ask how one could find out what the rest is: the notebook runs the same ring on a communicator that sends
nothing. Horovod's {{horovod_us}} for 64 kB look like a defect and are on purpose: its thread wakes up every millisecond, to
see whether there is more to send. Lab 12-fusion says why that pays.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Formula and clock

![The ring on two real processes, beside the formula, the same without messages, and Horovod](figures/real.svg)
"""

# %% [markdown] slide="notes"
r"""
Circles are the clock, the line is the formula with this machine's α and β, diamonds are the ring without any message.
Ask at each end which is nearer to the circles: the price of the network, or the price of the program? Then point at
Horovod: nearly flat for short arrays, where it waits for its own clock, and below the circles at the right end, where it
uses the same buffers again and again. Ask what they would change in their own ring to get there.
"""

# %% [markdown] slide="slide"
r"""
## What to take home

**The mean of all workers' gradients is the gradient of one big minibatch. To average n bytes, nobody has to send more than twice
n, however many workers there are: cut the array into chunks, and keep every cable busy. Short arrays cost latencies, so a tree
wins; long arrays cost bytes, so a ring wins; and what is added up inside a node never crosses the slow cable twice.**
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

- P. Patarasuk, X. Yuan: *Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations* (2009). The ring, and the
  proof that no other way moves fewer bytes.
- R. Thakur, R. Rabenseifner, W. Gropp: *Optimization of Collective Communication Operations in MPICH* (2005). What an MPI
  library chooses for which size, and why.
- A. Sergeev, M. Del Balso: *Horovod: fast and easy distributed deep learning in TensorFlow* (2018). The ring comes to
  machine learning; lab 11 uses it.
- V. Codreanu: *Introduction to High-Performance Machine Learning* (SURFsara / PRACE, 2018), and E. Rodrigues: *High
  Performance Machine Learning: Advances, Challenges and Opportunities* (IBM Research, 2019). The lectures behind this lab.
"""
