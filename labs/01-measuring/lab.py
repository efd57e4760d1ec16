# %% [markdown] slide="slide"
r"""
# How fast is fast?

Two computations, each a call or two of NumPy, on one thread of one processor. The first does {{axpy_mflop}} million
operations. The second does {{dense_mflop}} million, {{flop_ratio}} times as many. Which one is done sooner?

The second: {{dense_ms}} against {{axpy_ms}}. **Neither of them is badly written.** No number of operations says how
long something takes. Two numbers about the machine and two about the work do, and this notebook is about these four.
"""

# %% [markdown]
r"""
*You will*

- read your machine's card, and measure two of its lines again with your own hands;
- give a time that others can believe: a middle, and an interval around it;
- count the operations and the bytes of a computation, and draw the limit that they set, the *roofline*;
- predict four computations before you measure them, and explain those that the roofline gets wrong;
- make a computation several times as fast by moving fewer bytes, and build the input that makes an
  optimisation look as good, and as bad, as it can.

About 75 minutes. You need Python and a little NumPy, nothing else. Every later lab begins with the card that you meet
here.
"""

# %% given="preamble"
import math

import numpy as np

# %%
import hpml
from hpml import check, data, plots, predict, widgets

hpml.lab("01-measuring")

# %% [markdown] slide="notes"
r"""
The first computation adds a multiple of 10 million numbers to 10 million others; the second multiplies two matrices of
512×512. Let people bet before you show the second paragraph. Nearly everybody bets on fewer operations.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Why measure at all?

- Machine learning is a cycle: train, test, adjust, and again. Whoever goes round faster learns more.
- Accuracy grows with data and with model size, and computation grows with both: capacity is crucial.
- Training VGG for 50 epochs of ImageNet takes more than an exaFLOP of work: {{vgg_years}} at the full speed of one
  thread of the machine behind these slides.
- The minutes that it takes to train AlexNet fell about 500 times in five years.

*E. Rodrigues, IBM Research, 2019; V. Codreanu, SURFsara / PRACE, 2018; D. K. Panda et al., Ohio State, 2020*
"""

# %% [markdown] slide="notes"
r"""
Ask who has waited for a program this week, and for how long. The work of VGG-19 is 19.6 billion multiplications a
picture, times 2 for the additions, 3 for learning, 1.28 million pictures, 50 times over: 7.5 exaFLOP. The speed that it
is divided by stands on the next slide. The 500 times are the Ohio State lecture's, from a GTX 580 to a DGX-2.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## 1. What can a machine do?

| {{here}} | |
|---|---|
| float32 matrix product: the *peak* | {{peak}} GFLOP/s |
| copying in memory: the *bandwidth* | {{bandwidth}} GB/s |
| peak divided by bandwidth: the *ridge point* | {{ridge}} FLOP/byte |
| one NumPy addition of one number | {{numpy_call}} ns |

In the time of one small NumPy call, this thread could have done {{call_flop}} operations. Every prediction of this course
starts from a card like this: yours.
"""

# %% [markdown] slide="notes"
r"""
Let everybody make a card with `hpml.machine()` and read out their peak and bandwidth: they differ, and so will all
times from here on. The sentence under the table is {{numpy_call}} ns times {{peak}} GFLOP/s. Leave the ridge point
alone for now: it gets its meaning with the roof.
"""

# %% [markdown]
r"""
## 1. Your machine's card

What can this machine do at best? That has been measured, with simple programs that do nothing else, and is kept on a
card. It takes a few seconds the first time.
"""

# %%
machine = hpml.machine()
machine

# %% [markdown]
r"""
Line by line:

- A **core** is a processor of its own. A **thread** is a sequence of instructions that one core works through. This
  lab uses one thread, so the column in the middle counts.
- A **FLOP** is one floating-point operation: one addition, or one multiplication. A *GFLOP* is a billion of them. A
  matrix product is the kind of work that processors are best at, so its speed in **GFLOP/s** is called the *peak*.
  The numbers are `float32`: 4 bytes each.
- Numbers live in **memory** and have to come to the core. The **bandwidth** says how many bytes can come and go in
  one second, in GB/s. It was measured by copying and by adding arrays of many megabytes.
- **Caches** are small memories inside the processor that keep what was used last: L1 next to the core, then L2 and
  L3, each larger and slower.
- The **ridge point** is peak divided by bandwidth. You will know in half an hour what it is good for.
- The last two lines are what a call costs that does next to nothing: in Python, and in NumPy.

What does such a number mean? A network called VGG-19 needs 19.6 billion multiplications, and as many additions, to
look at one picture. To learn from it takes about three times that. It was trained on 1.28 million pictures, 50 times
over:
"""

# %%
flop = 50 * 1.28e6 * 3 * 2 * 19.6e9
years = flop / (machine.gemm_gflops(1) * 1e9) / (365 * 86400)
print(f"{flop:.2g} FLOP: {years:.2g} years of one thread, at its peak day and night")

# %% [markdown]
r"""
That is why the rest of this course exists: better programs, better use of the machine, more machines. All of it starts
with measuring.

## 2. What did the clock say?

Let us time one and the same call 400 times, by the clock on the wall.
"""

# %%
import time

from threadpoolctl import threadpool_limits

threadpool_limits(1)                # NumPy's matrix product uses one thread from here on

x = np.random.default_rng(1).random(200_000, dtype=np.float32)
wall = []
for _ in range(400):
    begin = time.perf_counter()
    np.sqrt(x)
    wall.append(time.perf_counter() - begin)
wall = np.array(wall) * 1e6         # microseconds

figure, axis = plots.figure(8, 3)
axis.hist(wall, bins=np.geomspace(wall.min(), wall.max(), 60), color=plots.CYCLE[0], alpha=0.5)
middles = {"smallest": wall.min(), "median": np.median(wall), "mean": wall.mean()}
for (name, value), colour in zip(middles.items(), plots.CYCLE[1:4], strict=True):
    axis.axvline(value, color=colour, label=f"{name}: {value:.0f} µs")
axis.set(xscale="log", yscale="log")
levels = [20, 50, 100, 200, 500, 1000, 2000, 5000]
axis.set_xticks(levels, levels)
axis.set_xticks([], minor=True)
axis.set_xlim(wall.min() / 1.1, wall.max() * 1.1)
axis.set(xlabel="time of one call, µs", ylabel="calls (logarithmic)",
         title="One call, 400 times")
axis.legend()
figure

# %% [markdown]
r"""
It never takes less than it has to, and now and then it takes far longer: another program had the core, or the clock
frequency changed. So the times have a tail to the right. The **mean** follows that tail. The **smallest** says how
fast it went once. The **median**, the time in the middle, says how fast it usually goes, and a few strange values do
not move it.

One number is not enough. How far off may the median be? Here is an argument that needs no bell curve. Each time is
below the true median with probability ½, like a coin. Sort your n times. The true median lies below the k-th smallest
only if fewer than k of the n coins fell on "below". So between the k-th smallest and the k-th largest it lies with
probability

$$1 \;-\; 2\sum_{i=0}^{k-1} \binom{n}{i}\, 2^{-n}.$$

**Write `median_interval`.** Take the largest k for which this is at least 95 %. `math.comb(n, i)` is the binomial
coefficient, and there are always at least 6 times.
"""

# %% exercise="median_interval"
def median_interval(times):
    """The median of noisy times, and an interval that holds the true one with 95 % confidence.

    times : (n,) float64, n >= 6, in any order; leave them as they are.
    Returns np.array([median, low, high]): low and high are the k-th smallest and the k-th
    largest time. About 6 lines.
    """
    ### BEGIN SOLUTION
    ordered, n, k = np.sort(times), len(times), 1
    while 2 * sum(math.comb(n, i) for i in range(k + 1)) <= 0.05 * 2 ** n:
        k += 1
    return np.array([np.median(ordered), ordered[k - 1], ordered[n - k]])
    ### END SOLUTION

# %% check="median_interval"
# Every time is a line. Below: the median and the interval that belong to them, and yours.
check("median_interval")

# %% [markdown] slide="slide"
r"""
## One time is no time

- Times have a floor, and a tail to the right: report the **median**.
- Each time is below the true median with probability ½. Between the k-th smallest and the k-th largest of n times it
  lies with probability $1 - 2\sum_{i<k} \binom{n}{i} 2^{-n}$.
- No bell curve is assumed. 6 times are the least for 95 %; more make the interval narrower.
- To compare two programs, let them alternate and take the median of the *ratios*: what disturbs one disturbs both.

*H. A. David, H. N. Nagaraja: Order Statistics, 2003*
"""

# %% [markdown] slide="notes"
r"""
Three runs took 1.0, 1.1 and 4.0 ms: how long does the program take? Expect the mean, the smallest and the median, each
from somebody. The mean follows the tail, and the smallest says how fast it went once. Why six are the least: there the
formula, with k = 1, is 1 − 2/64, about 97 %, and for five times it is 1 − 2/32, not quite 94 %. An interval that holds
most *calls* is something else: it does not get narrower, however many you take.
"""

# %% [markdown]
r"""
Is a promise of 95 % kept? With made-up times we know the truth. Beside it, what most people would write: mean ± 1.96
standard errors, which trusts the bell curve. Each is asked for its own middle.
"""

# %% uses="median_interval"
rng = np.random.default_rng(3)
made_up = rng.lognormal(0, 1.5, (2000, 15))             # 2000 experiments of 15 times each
held = {"median, by ranks": 0, "mean ± 1.96 standard errors": 0}
for times in made_up:
    _, low, high = median_interval(times)
    held["median, by ranks"] += low <= 1 <= high                    # its true median is 1
    half = 1.96 * times.std(ddof=1) / math.sqrt(len(times))
    held["mean ± 1.96 standard errors"] += abs(times.mean() - math.exp(1.5 ** 2 / 2)) <= half
for name, count in held.items():
    print(f"{name:30s} holds the truth in {count / 20:.1f} % of the experiments")

# %% [markdown]
r"""
Now the tool for the rest of this lab. `timings` measures *processor time*: the time that this program really had a
core, whatever else went on. Short calls are repeated until a block is long enough for the clock.
"""

# %%
def timings(function, *args, least=0.01, blocks=15):
    """Processor seconds of one call: one number for each block of at least `least` seconds."""
    calls, found = 1, []
    while len(found) < blocks:
        begin = time.process_time()
        for _ in range(calls):
            function(*args)
        spent = time.process_time() - begin
        if spent >= least:
            found.append(spent / calls)
        else:
            calls *= 2
    return np.array(found)

# %% [markdown]
r"""
With that, the two lines of the card that matter most, measured by you: the product of two 1024×1024 matrices, 2·1024³
FLOP, and a copy of 10 million numbers, each of which is read once and written once: 8 bytes.
"""

# %% uses="median_interval"
square = np.random.default_rng(2).random((1024, 1024), dtype=np.float32)
here, there = np.ones(10_000_000, np.float32), np.empty(10_000_000, np.float32)

found = median_interval(timings(lambda: square @ square))
middle, low, high = 2 * 1024 ** 3 / found[[0, 2, 1]] / 1e9      # shortest time: highest speed
print(f"matrix product {middle:6.1f} GFLOP/s, 95 % interval {low:.1f} to {high:.1f};",
      f"the card says {machine.gemm_gflops(1):.1f}")
found = median_interval(timings(np.copyto, there, here))
middle, low, high = 8e7 / found[[0, 2, 1]] / 1e9
print(f"copy           {middle:6.1f} GB/s,    95 % interval {low:.1f} to {high:.1f};",
      f"the card says {machine.bandwidth_gbs(1):.1f}")

# %% [markdown]
r"""
The card shows the best of several calls, since it asks what the machine *can* do. A median is a little below that. If
yours is far above, other programs were computing while the card was made: close them, run
`machine = hpml.machine(refresh=True)`, and go on with the new one.

Which of two programs is faster? Let them take turns, divide neighbouring times, and ask for the median of these
ratios. What disturbs one then disturbs the other. Here both are the same, so the interval should contain 1; if your
tools find a winner, do not trust them with anything else. This is called an *A/A test*. The checks of this course
begin with one, too.
"""

# %% uses="median_interval"
def ratio(one, other, turns=15):
    """Median and interval of the time of `other` divided by that of `one`, taken in turns."""
    pairs = [(timings(one, blocks=1)[0], timings(other, blocks=1)[0]) for _ in range(turns)]
    return median_interval(np.array([second / first for first, second in pairs]))

middle, low, high = ratio(lambda: np.sqrt(x), lambda: np.sqrt(x))
verdict = "no difference shown" if low <= 1 <= high else "a winner among equals?"
print(f"A/A: {middle:.3f}, 95 % interval {low:.3f} to {high:.3f}: {verdict}")

# %% [markdown]
r"""
## 3. The further away, the slower

The card has one bandwidth. But a copy of a small array never leaves the caches. Copy arrays of all sizes, and mark on
the axis where the caches of your machine end:
"""

# %%
sizes = [2 ** p for p in range(8, 25)]                              # numbers in each array
speeds = []
for n in sizes:
    source, target = np.ones(n, np.float32), np.empty(n, np.float32)
    speeds.append(8 * n / np.median(timings(np.copyto, target, source, blocks=5)) / 1e9)

kilobytes = [8 * n / 1024 for n in sizes]                           # of both arrays together
figure, axis = plots.figure(8, 4)
axis.loglog(kilobytes, speeds, "o-", label="copy, both arrays together")
axis.axhline(machine.bandwidth_gbs(1), ls="--", color=plots.INK, lw=1, label="the card says")
for level, count in machine.caches.items():
    axis.axvline(count / 1024, color="0.6", lw=1)
    axis.annotate(f" {level}", (count / 1024, 1.25 * max(speeds)), fontsize=10)
marks = [2, 16, 128, 1024, 8192, 65536, 131072]
axis.set_xticks(marks, ["2 kB", "16 kB", "128 kB", "1 MB", "8 MB", "64 MB", ""])
axis.set_xticks([], minor=True)
levels = [1, 2, 5, 10, 20, 50, 100, 200, 500]
axis.set_yticks(levels, levels)
axis.set_yticks([], minor=True)
axis.set_ylim(min(speeds) / 1.5, 1.8 * max(speeds))
axis.set(xlabel="bytes that the copy touches", ylabel="GB/s, read + written",
         title="One copy, three worlds")
axis.legend(loc="lower center")
figure

# %% [markdown]
r"""
On the left, a call takes as long as a call takes, however little there is to copy: overhead. In the middle, everything
stays in a cache. On the right, it comes from memory, and no program can change that, except by asking for fewer bytes.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## One copy, three worlds

![Speed of a copy against the bytes that it touches](figures/caches.svg)

{{here}}
"""

# %% [markdown] slide="notes"
r"""
Before you show it: which copies are the fastest? Expect "the smallest". Point at the left end: these few kilobytes
never leave L1, and still they are slower than memory, the dashed line, because a call takes its time however little
there is to copy. Then point at the two falls, at the lines of L2 and of L3. To the right of them only fewer bytes help,
so let us count bytes.
"""

# %% [markdown] slide="slide"
r"""
## 4. Work and traffic

How much is there to do? Count two things: **FLOPs**, and the **bytes** that have to cross the border of the memory,
with each input read once and each output written once.

| kernel | what | FLOP | numbers read | numbers written |
|---|---|---|---|---|
| axpy | $y \leftarrow a\,x + y$, n numbers | $2n$ | $2n$ | $n$ |
| dense | $y = x\,w$, (B×D) times (D×K) | ? | ? | ? |
| conv | a window of k×k over N pictures | ? | ? | ? |
"""

# %% [markdown] slide="notes"
r"""
Do the dense row together, and leave the convolution to the notebook. Two slips to expect: half of the operations,
because a multiplication *and* an addition count, and a window that is allowed to hang over the edge. A number is 4
bytes. Then divide the first row: 2n FLOP for 12n bytes, 0.17 FLOP per byte, for any n.
"""

# %% [markdown]
r"""
A piece of work that is done over and over is called a *kernel*. The one called **axpy** (a times x plus y) has a
multiplication and an addition for each of n numbers. It reads x, it reads y, and it writes y.

A **dense** layer of a network is a matrix product. Its output has B·K numbers, and each is a sum of D products: count
a multiplication and an addition for each product.

A **convolution** slides a window of k×k pixels over N pictures of H×W pixels, each pixel with C numbers. At each place
where the window fits into the picture it makes K numbers, and each is a sum of k·k·C products with weights `w[k, k,
C, K]`. (Lab 04 is all about it.) In how many places does a window of k fit into a row of W?

**Write `work`**, for float32 numbers.
"""

# %% exercise="work"
def work(kind, *shape):
    """FLOPs and bytes of a kernel: each input read once, each output written once, float32.

    kind, shape : "axpy", n  |  "dense", B, D, K  |  "conv", N, H, W, C, K, k
    Returns np.array([flops, bytes]), float64. About 10 lines.
    """
    ### BEGIN SOLUTION
    if kind == "axpy":
        n, = shape
        products, moved = n, 3 * n
    elif kind == "dense":
        B, D, K = shape
        products, moved = B * D * K, B * D + D * K + B * K
    else:
        N, H, W, C, K, k = shape
        outputs = N * (H - k + 1) * (W - k + 1) * K
        products, moved = outputs * k * k * C, N * H * W * C + k * k * C * K + outputs
    return np.array([2.0 * products, 4.0 * moved])
    ### END SOLUTION

# %% check="work"
# Left: what is read and written. Right: the two totals, and yours.
check("work")

# %% [markdown]
r"""
FLOPs divided by bytes is the **arithmetic intensity**: work per byte. Look how different it is:
"""

# %% uses="work"
layers = {
    "axpy, any size": ("axpy", 10_000_000),
    "matrix times vector, 4096": ("dense", 1, 4096, 4096),
    "dense layer, 32 rows": ("dense", 32, 784, 128),
    "dense layer, 512 cubed": ("dense", 512, 512, 512),
    "convolution, 16 to 32 channels": ("conv", 2, 28, 28, 16, 32, 3),
}
for name, (kind, *shape) in layers.items():
    flops, moved = work(kind, *shape)
    print(f"{name:32s} {flops / 1e6:8.2f} MFLOP {moved / 1e6:8.2f} MB"
          f" {flops / moved:8.2f} FLOP/byte")

# %% [markdown] slide="slide"
r"""
## 5. The roof

Memory delivers *bandwidth* bytes a second, arithmetic does *peak* FLOP a second, and both work at the same time. So a
kernel takes at least as long as the slower of the two:

$$\text{seconds} \;\ge\; \max\left(\frac{\text{FLOP}}{\text{peak}},\; \frac{\text{bytes}}{\text{bandwidth}}\right).$$

Divide the FLOPs by both sides. With intensity = FLOP/bytes, the speed is

$$\text{FLOP/s} \;\le\; \min\left(\text{peak},\; \text{intensity}\cdot\text{bandwidth}\right).$$

*S. Williams, A. Waterman, D. Patterson: Roofline, 2009*
"""

# %% [markdown]
r"""
Drawn over the intensity, that is a roof. Move the point. What would you rather buy for `axpy`: twice the bandwidth or
twice the peak? And for a dense layer? Where does it make no difference?
"""

# %%
widgets.roofline()

# %% [markdown] only="slides" slide="slide"
r"""
## A roof over every kernel

![The roofline of one thread, with axpy at half of what it can reach](figures/roof.svg)

{{here}}
"""

# %% [markdown] slide="notes"
r"""
The orange point is an example: an axpy at half of what it can reach, and the dashed line shows the way up. Go through
the four marks under the axis and let them vote: twice the bandwidth or twice the peak? The two on the left want
bandwidth, the two on the right want peak. At the ridge neither helps alone. In the notebook the point can be moved.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Where the ridge is

| machine | ridge point, FLOP per byte |
|---|---|
| one thread of the processor behind these slides, float32 | {{ridge}} |
| A100, dense bf16 | 153 |
| H200, dense bf16 | 206 |
| H100, dense bf16 | 295 |

An axpy has 0.17. On a graphics processor nearly everything is limited by memory, unless each byte that is fetched is
used hundreds of times. **Matrix products are what can do that.**

*derived from the peaks in the manufacturer's data sheets*
"""

# %% [markdown]
r"""
The kink of the roof is the *ridge point* of the card. To the left of it, memory is the limit: more arithmetic would
cost nothing. To the right of it, arithmetic is: more bytes would cost nothing.

**Write `attainable`**: the best speed and the least time under the roof, for many kernels at once. Mind the units.
"""

# %% exercise="attainable"
def attainable(flops, nbytes, peak, bandwidth):
    """The roofline: what speed a kernel can reach at most, and how long it takes at least.

    flops, nbytes : (m,) float64. peak : GFLOP/s. bandwidth : GB/s.
    Returns the tuple (GFLOP/s, seconds), both (m,) float64. About 2 lines.
    """
    ### BEGIN SOLUTION
    gflops = np.minimum(peak, flops / nbytes * bandwidth)
    return gflops, flops / (gflops * 1e9)
    ### END SOLUTION

# %% check="attainable"
# The roof of a made-up machine, the points that lie on it, and yours.
check("attainable")

# %% [markdown]
r"""
## 6. Four kernels, four predictions

Now the two computations of the beginning, and two more. Here is how NumPy does them. It has no axpy, so two calls do
it: one writes a·x into a third array, the other adds that to y.
"""

# %%
def axpy(a, x, y, t):
    """y += a * x in two NumPy calls; t is memory for a * x."""
    np.multiply(x, a, out=t)
    np.add(y, t, out=y)

def matvec(m, v):
    """A matrix times one vector."""
    return m @ v

def dense(x, w):
    """A dense layer: a matrix times a matrix."""
    return x @ w

# %% [markdown]
r"""
What the roofline allows them on your machine, by your own two functions:
"""

# %% uses="work attainable"
peak, bandwidth = machine.gemm_gflops(1), machine.bandwidth_gbs(1)
shapes = {
    "axpy, 10 million": ("axpy", 10_000_000),
    "matrix times vector, 4096": ("dense", 1, 4096, 4096),
    "dense, 512 cubed": ("dense", 512, 512, 512),
    "axpy, 100": ("axpy", 100),
}
counts = np.array([work(kind, *shape) for kind, *shape in shapes.values()])
allowed, least = attainable(counts[:, 0], counts[:, 1], peak, bandwidth)
for name, speed, seconds in zip(shapes, allowed, least, strict=True):
    print(f"{name:28s} at most {speed:6.1f} GFLOP/s: at least {seconds * 1e6:10.3f} µs")

# %% [markdown]
r"""
**Predict.** What percentage of the speed that the roofline allows will each of them reach? First `axpy` on 10 million
numbers. The roofline counts 12 bytes for each number. Count the bytes that the two calls above really move.
"""

# %% predict="axpy_share"
predict("axpy_share", 60)

# %% [markdown]
r"""
The product of a 4096×4096 matrix with a vector, in per cent of the roofline:
"""

# %% predict="matvec_share"
predict("matvec_share", 90)

# %% [markdown]
r"""
The product of two 512×512 matrices, in per cent of the roofline:
"""

# %% predict="dense_share"
predict("dense_share", 90)

# %% [markdown]
r"""
And `axpy` on 100 numbers. Its 1200 bytes fit into any cache, so ask another question: how many times as long does it
take as `axpy` on *ten* numbers?
"""

# %% predict="hundred_to_ten"
predict("hundred_to_ten", 1.1)

# %% [markdown]
r"""
Then measure:
"""

# %% uses="work attainable median_interval"
rng, n = np.random.default_rng(5), 10_000_000
x, y, t = np.ones(n, np.float32), np.ones(n, np.float32), np.empty(n, np.float32)
few = [array[:100].copy() for array in (x, y, t)]
m, v = rng.random((4096, 4096), dtype=np.float32), rng.random(4096, dtype=np.float32)
s = rng.random((512, 512), dtype=np.float32)
calls = [(axpy, np.float32(0.5), x, y, t), (matvec, m, v), (dense, s, s),
         (axpy, np.float32(0.5), *few)]
times = np.array([median_interval(timings(*call)) for call in calls])
reached = counts[:, :1] / times / 1e9                               # median, high, low
for name, (middle, high, low), roof in zip(shapes, reached, allowed, strict=True):
    print(f"{name:28s} {middle:7.2f} GFLOP/s ({low:.2f} to {high:.2f}):"
          f" {middle / roof:6.1%} of the roofline")

# %% uses="work attainable median_interval"
figure, axis = plots.figure(8, 4.6)
ends = np.array([0.05, peak / bandwidth, 1000])
axis.loglog(ends, np.minimum(peak, ends * bandwidth), color=plots.INK)
axis.annotate(f"arithmetic: {peak:.0f} GFLOP/s", (3 * peak / bandwidth, 1.25 * peak))
axis.annotate(f"memory:\n{bandwidth:.0f} GB/s", (0.055, 0.3 * bandwidth))
intensity = counts[:, 0] / counts[:, 1]
for place, roof, (middle, high, low), name, mark, colour in zip(
        intensity, allowed, reached, shapes, "osD^", plots.CYCLE, strict=False):
    axis.plot([place, place], [middle, roof], ":", color=colour, lw=1.6)
    axis.errorbar(place, middle, [[middle - low], [high - middle]], fmt=mark, color=colour,
                  ms=9, capsize=3, label=f"{name}: {middle / roof:.0%} of the roof")
axis.set_xlabel("work per byte of memory traffic, FLOP/byte")
axis.set_ylabel("GFLOP/s on one thread")
axis.set_ylim(reached.min() / 3, 3 * peak)
axis.set_xticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1000"])
axis.set_title("Four kernels under my roof")
axis.legend(loc="lower right")
figure

# %% check="axpy_share"
check("axpy_share")

# %% check="matvec_share"
check("matvec_share")

# %% check="dense_share"
check("dense_share")

# %% check="hundred_to_ten"
check("hundred_to_ten")

# %% [markdown] only="slides" slide="slide"
r"""
## Four kernels under one roof

![Four kernels on the roofline of one thread](figures/kernels.svg)

{{here}}
"""

# %% [markdown] slide="notes"
r"""
Collect guesses first: what per cent of the roof will each of them reach? The dotted lines show what is missing. For the
large axpy ask them to count what the two NumPy calls move: 12 of 20 bytes would be 60 %, and what the caches keep of t
makes it more. The roof is measured, too: a point may lie a per cent above it, and the next slide, measured again, may
differ by a little.
"""

# %% [markdown] slide="subslide"
r"""
### What the roofline does not know

- **What really moves.** It counts what *has* to move. NumPy's axpy moves 20 bytes a number instead of 12, and reaches
  {{axpy_share}} % of the roof.
- **What a call costs.** An axpy of 100 numbers takes {{hundred_to_ten}} times as long as one of ten numbers: it is all
  overhead. Graphics processors have that, too: there it is called launch overhead, and it is larger.
- **Where the bytes come from.** A cache lifts the sloping part of the roof.

A roof says what cannot be. What is below it you have to measure.
"""

# %% [markdown]
r"""
## 7. Fewer bytes

Time for something useful. Fashion-MNIST holds pictures of clothes in ten classes, 28×28 = 784 numbers each. Average all
pictures of a class. A new picture is then of the class whose average is nearest. So we need the squared distance of
each of B pictures to each of K averages:

$$d_{b,q} \;=\; \sum_{j} \,(x_{b,j} - c_{q,j})^2$$

Everybody writes it like this. (`x[:, None]` gives x another axis, so that each picture meets each average.) It is the
baseline that your answer is measured against:
"""

# %%
def three_passes(x, c, rows):
    """One NumPy operation after another, each with a new array for its result."""
    difference = x[:, None] - c                 # (B, K, D)
    square = difference ** 2                    # (B, K, D)
    return np.sum(square, axis=2)               # (B, K)

# %% [markdown]
r"""
With 2000 pictures, `difference` and `square` are 63 MB each: far more than a cache. For each of their numbers, the
first pass writes 4 bytes to memory, the second reads 4 and writes 4, the third reads 4. That makes 16 bytes for three
operations. But what *has* to move is the pictures, the averages and the result, a tenth of one such array.

Nobody needs `difference` as a whole. Take a few pictures at a time: their differences fit into a cache, they are used
up there, and the next pictures reuse the same memory.

**Write `distances`**, `rows` pictures at a time. Inside, `np.einsum("bkd,bkd->bk", d, d)` multiplies d by itself and sums
over its last axis in one pass, without an array for the squares. It is measured with 2000 pictures and 10 averages, 8
pictures at a time.
"""

# %% exercise="distances"
def distances(x, c, rows):
    """The squared distance of each row of x to each row of c, `rows` rows of x at a time.

    x : (B, D), c : (K, D), float32. rows : int, how many fit nicely into a cache.
    Returns (B, K) float32. About 5 lines; B need not be a multiple of rows.
    """
    ### BEGIN SOLUTION
    found = np.empty((len(x), len(c)), x.dtype)
    for top in range(0, len(x), rows):
        d = x[top:top + rows, None] - c
        found[top:top + rows] = np.einsum("bkd,bkd->bk", d, d)
    return found
    ### END SOLUTION

# %% check="distances"
# The distances as a matrix: expected, yours, and where they differ.
# Then the verdict: paired samples, and the roofline.
check("distances")

# %% [markdown]
r"""
(You may know another way: $x^2 - 2xc + c^2$, where the middle is a matrix product. It is faster still. But it takes the
difference of large numbers to find a small one, and loses its digits: the pictures of the check are bright and alike,
and it fails there. Try it, and read the hint.)

Does the nearest average find the class? On pictures that were not averaged:
"""

# %% uses="distances"
fashion = data.load("fashion-mnist-mini")
pictures = fashion.x_train.reshape(-1, 784).astype(np.float32) / 255
unseen = fashion.x_test.reshape(-1, 784).astype(np.float32) / 255
averages = np.stack([pictures[fashion.y_train == q].mean(axis=0) for q in range(10)])
nearest = distances(unseen, averages, 8).argmin(axis=1)
right = nearest == fashion.y_test
print(f"{np.mean(right):.0%} of {len(unseen)} pictures are nearest to their own class")

figure, axes = plots.figure(9, 2.9, rows=2, columns=10)
for q, name in enumerate(fashion.classes):
    wrongly = np.flatnonzero((fashion.y_test == q) & ~right)[0]
    for axis, picture in zip(axes[:, q], (averages[q], unseen[wrongly]), strict=True):
        axis.imshow(picture.reshape(28, 28), cmap="gray")
        axis.set_axis_off()
    axes[0, q].set_title(name.split("/")[0], fontsize=8.5)
    axes[1, q].set_title("→ " + fashion.classes[nearest[wrongly]].split("/")[0], fontsize=8.5)
figure

# %% [markdown]
r"""
Above the averages, below a picture of each class that is nearer to another one. About two in three, with no learning
but an average: remember the number for lab 02.

Back to the bytes. How many pictures at a time are good? Try from one to all of them:
"""

# %% uses="distances median_interval"
few, blocks = pictures[:2000], [1, 2, 4, 8, 32, 128, 512, 2000]
base = median_interval(timings(three_passes, few, averages, 0, blocks=7))[0]
found = [base / median_interval(timings(distances, few, averages, rows, blocks=7))
         for rows in blocks]
middle, high, low = np.array(found).T
kilobytes = np.array(blocks) * averages.nbytes / 1024       # of the differences of one block

figure, axis = plots.figure(7, 3.6)
axis.errorbar(kilobytes, middle, [middle - low, high - middle], fmt="o-", capsize=3)
axis.axhline(1, ls="--", color=plots.INK, lw=1)
axis.set_xscale("log")
axis.set_ylim(0, 1.3 * high.max())
for level, count in machine.caches.items():
    if kilobytes[0] < count / 1024 < kilobytes[-1]:
        axis.axvline(count / 1024, color="0.6", lw=1)
        axis.annotate(f" {level}", (count / 1024, 0.1), fontsize=10)
axis.set_xticks(kilobytes, [f"{rows}" for rows in blocks])
axis.set_xticks([], minor=True)
axis.set(xlabel="pictures at a time (lines: where their differences fill a cache)",
         ylabel="times as fast as three passes")

terms = few.size * len(averages)
print(f"three passes: {base * 1e3:.1f} ms; their 16 bytes a number at the card's bandwidth:"
      f" {16e-9 * terms / machine.bandwidth_gbs(1) * 1e3:.1f} ms")
figure

# %% [markdown]
r"""
**Explain.** Why does the curve fall at both ends? And the three passes take longer than their bytes need at the card's
bandwidth: what else may cost time there, that is not there with small blocks? Name what is paid on the left and what
moves on the right, with numbers: from the plot, from the lines below it, from your machine's card. Four to eight
sentences.
"""

# %% [markdown] manual="explain_blocks"
r"""
On the left a block is one picture, and the differences are 31 kB: they fit into L1 or L2 easily. But each block costs
several calls, of NumPy and of Python, and with 2000 blocks these calls add up; the roofline knows nothing about them. On
the right the differences of all pictures are one array of 63 MB, which is larger than L2 and L3: it is written to memory
and read again, 8 bytes for each number, where a small block moves next to nothing. In between, the differences stay in
L2, and only the pictures come from memory. My distances are {{gain}} times as fast as the three passes. Those move 16
bytes for each of 15.7 million numbers, 251 MB, and take longer than that needs at the bandwidth of the card. They
get new memory for two arrays of 63 MB in every call, and the operating system has to find and to clear each page of it
when it is touched for the first time; a small block uses the same memory again and again. And the arithmetic of
each pass takes its time, too: it waits for memory only part of the time.
"""

# %% [markdown] slide="slide"
r"""
## The same answer, fewer bytes

$d_{b,q} = \sum_j (x_{b,j} - c_{q,j})^2$: how far is each picture from the average of each class?

| | bytes to and from memory, for each (b, q, j) |
|---|---|
| `difference = x[:, None] - c`, `difference ** 2`, `np.sum` | 4 + 8 + 4 = 16 |
| a few pictures at a time: the differences stay in a cache | nearly 0 |

Same operations, same answer, three more lines of Python, and {{gain}} times as fast. **What is not moved costs
nothing.** It is called *blocking*, *tiling* or *fusion*, and it comes back in labs 04, 08 and 12.
"""

# %% [markdown] slide="notes"
r"""
Count the 16 bytes with them, pass by pass. The first pass writes 4, the second reads 4 and writes 4, the third reads 4;
with 2000 pictures and 10 averages each of the two arrays is 63 MB. The {{gain}} times are for 8 pictures at a time.
Somebody will propose x² − 2xc + c²: faster still, but a small difference of large numbers loses its digits, and the
notebook's check shows it.
"""

# %% [markdown] slide="slide"
r"""
## 8. As good as it gets

An optimisation is announced: "Half of the numbers in a network are zero. We skip tiles of zeros: up to {{skip_best}}
times as fast!"

Both may be true. What is the question that you would ask?
"""

# %% [markdown] slide="notes"
r"""
Let everybody write one question down. Expect "on which machine?" and "compared with what?". Both are good; the one that
decides here is "on which input?". Then: you may place the same number of ones anywhere, where do they help most, and
where least? That is the exercise; do not solve it here.
"""

# %% [markdown]
r"""
Here is that optimisation: a matrix product that looks at x in tiles, squares of `tile` by `tile` numbers, and leaves
out those in which everything is zero.
"""

# %%
def skipping(x, w, tile):
    """x @ w without the tiles of x that are all zero. Sides of x are multiples of tile."""
    y = np.zeros((len(x), w.shape[1]), x.dtype)
    for top in range(0, len(x), tile):
        for left in range(0, x.shape[1], tile):
            part = x[top:top + tile, left:left + tile]
            if part.any():
                y[top:top + tile] += part @ w[left:left + tile]
    return y

# %% [markdown]
r"""
Whoever sells it may choose the input, and so may whoever sells something else. **Write `best_and_worst`**: two places
for the same number of ones, such that in the first as many tiles as possible are empty, and in the second as few as
possible. Any such pair will do.
"""

# %% exercise="best_and_worst"
def best_and_worst(rows, columns, tile, full):
    """Where to put `full` ones, so that skipping tiles of zeros helps most, and least.

    rows and columns are multiples of tile; 1 <= full <= rows * columns.
    Returns the tuple (best, worst) of bool arrays (rows, columns), each with `full` True in it.
    About 8 lines. Hint: think of an array with a line for each tile.
    """
    ### BEGIN SOLUTION
    down, across = rows // tile, columns // tile
    best, worst = np.zeros((2, down * across, tile * tile), bool)       # a line for each tile
    best.flat[:full] = True                     # one tile after the other
    worst.T.flat[:full] = True                  # one number to each tile, then the next
    def picture(lines):
        return lines.reshape(down, across, tile, tile).swapaxes(1, 2).reshape(rows, columns)
    return picture(best), picture(worst)
    ### END SOLUTION

# %% check="best_and_worst"
# Above a pair that is possible, below yours. Red lines are the borders of the tiles.
check("best_and_worst")

# %% [markdown]
r"""
Now all of it together: real pictures, one in each row of x, where about half of the pixels are black, that is, zero;
and your best and your worst case with exactly as many zeros. Which of your two cases will the pictures be like? All
are compared with the plain product `x @ w`, in turns.
"""

# %% uses="best_and_worst median_interval"
tile, wide = 112, 512
clothes = pictures[:1120]
full = int(np.count_nonzero(clothes))
best, worst = (mask.astype(np.float32) for mask in best_and_worst(1120, 784, tile, full))
w = np.random.default_rng(7).random((784, wide), dtype=np.float32)

inputs = {"best case": best, "worst case": worst, "real pictures": clothes}
gains = {}
for name, x in inputs.items():
    assert np.allclose(skipping(x, w, tile), x @ w, rtol=1e-3, atol=1e-3)
    gains[name] = ratio(lambda x=x: skipping(x, w, tile), lambda x=x: x @ w)
    empty = ~x.reshape(10, tile, 7, tile).any(axis=(1, 3))
    print(f"{name:14s} {np.mean(x == 0):4.0%} zeros, {np.mean(empty):4.0%} of the tiles empty:"
          f" {gains[name][0]:.2f} times as fast")

figure, axis = plots.figure(8, 2.4)
middle, low, high = np.array(list(gains.values())).T
places = np.arange(len(gains))
axis.barh(places, middle, 0.6, xerr=[middle - low, high - middle], capsize=4)
axis.axvline(1, color=plots.INK, ls="--")
axis.set_yticks(places, list(gains))
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
axis.set(xlabel="times as fast as x @ w (dashed: no gain)",
         title="The same share of zeros, the same program")
figure

# %% [markdown] slide="subslide"
r"""
### The same share of zeros, three times

| input, {{zeros}} % zeros each | tiles that can be skipped | times as fast as `x @ w` |
|---|---|---|
| the best case | {{best_empty}} % | {{skip_best}} |
| the worst case | {{worst_empty}} % | {{skip_worst}} |
| real pictures, clothes on black | {{real_empty}} % | {{skip_real}} |

"Up to" is a statement about an input. **Ask which, and measure on yours.**
"""

# %% [markdown] slide="notes"
r"""
Ask which case the real pictures will be like. A tile is 112 pictures by 112 pixels, and it is empty only if all these
pixels are black in all these pictures. In the first row half of the work is gone, and still it is not twice as fast.
Ask what `skipping` does that `x @ w` does not: it looks at every tile, multiplies in pieces, and adds the pieces up.
"""

# %% [markdown] slide="slide"
r"""
## What to take home

**A time is a median with an interval. A speed is a time and a count of the work. A limit is the smaller of peak and
intensity times bandwidth, and it belongs to a machine. Count the bytes before you count the operations; below the roof,
find out what else moved, or what each call cost. And of every gain, ask on which input.**
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

- S. Williams, A. Waterman, D. Patterson: *Roofline: An Insightful Visual Performance Model for Multicore Architectures*
  (2009). The model, and what to do about each of its limits.
- T. Hoefler, R. Belli: *Scientific Benchmarking of Parallel Computing Systems* (2015). Twelve rules for numbers that
  others can believe, with medians and intervals like yours.
- J. D. McCalpin: *Memory Bandwidth and Machine Balance in Current High Performance Computers* (1995). The STREAM
  benchmark: the copy and the addition of your card.
- E. Rodrigues: *High Performance Machine Learning: Advances, Challenges and Opportunities* (IBM Research, 2019). Why a
  faster cycle of training, testing and adjusting is more productive research: one of the lectures behind this course.
"""
