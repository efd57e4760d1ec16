# %% [markdown] slide="slide"
r"""
# Why is a convolution a matrix product?

Six nested Python loops need {{loops}} for one small layer on two small pictures. This notebook ends with the same
numbers in {{gemm}}, {{ratio}} times sooner, and it is still Python. **Nothing about the arithmetic changes**:
{{mmacs}} million multiplications and additions before, {{mmacs}} million after. What changes is the order in which
memory is read.
"""

# %% [markdown]
r"""
*You will*

- lay out every patch of a picture as a row of a matrix, without copying one byte;
- turn a convolution into one matrix product, and both of its gradients into one more each;
- predict, before you measure, how much memory that costs and how close to your machine's peak you get;
- bound the memory by working in tiles, and find out when that is faster, too;
- say on a roofline where NumPy ends, where a framework ends, and why.

About 75 minutes. You need the roofline from 01-measuring: work per byte decides whether memory or arithmetic is the
limit. Every time in this lab is processor time on **one thread**.
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, plots, predict, widgets

hpml.lab("04-conv-gemm")

# %% [markdown]
r"""
Your own machine's card. Every prediction below uses its numbers for one thread.
"""

# %%
machine = hpml.machine()
machine

# %% [markdown] slide="notes"
r"""
Say what is measured: processor time, one thread, on the machine of this notebook. The ratio of the title is taken on
two pictures of 28×28 with 16 channels, 32 output channels and a 3×3 kernel. Ask for guesses before you show it.
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Features, designed or learned

- Classical computer vision: experts design features, then train a classifier on them.
- A convolutional network learns both together, from `x[C×H×W]` and `w[K×C×k×k]`: convolve, apply a nonlinearity,
  pool, repeat.
- Nearly all of its time goes into one operation: the convolution.
- **That it can be done as a matrix product was a main reason for using graphics processors early.**

*V. Codreanu, Introduction to High-Performance Machine Learning, SURFsara / PRACE, 2018*
"""

# %% [markdown]
r"""
## 1. Where do the numbers sit?

A minibatch of pictures is one block of memory, `x[n, h, w, c]`: picture, row, column, channel. That order is called
NHWC. The last index moves fastest, so the number `x[n, h, w, c]` sits at position

$$((n\,H + h)\,W + w)\,C + c .$$

NumPy keeps four step lengths with every array, its *strides*: how many bytes lie between neighbours along each axis.
"""

# %%
x = np.zeros((2, 28, 28, 16), np.float32)
x.strides

# %% [markdown]
r"""
Read it from the right: the next channel is 4 bytes away, one float32. The next column is 16 channels away. The next
row is 28 columns away, and the next picture 28 rows. You will need these four numbers in a moment.

## 2. The formula, and six loops

A convolution slides a window of k×k pixels over the picture. Every output number is a sum over the window and over
all channels:

$$y[n,h,w,q] \;=\; \sum_{i=0}^{k-1}\,\sum_{j=0}^{k-1}\,\sum_{c=0}^{C-1} x[n,\,h+i,\,w+j,\,c]\;\cdot\;w[i,j,c,q].$$

The kernel is stored as `w[i, j, c, q]`, called HWIO: row, column, input channel, output channel. There are K output
channels. The window stays inside the picture, so the output has $H' = H-k+1$ rows and $W' = W-k+1$ columns.

(Mathematicians flip the kernel first. Frameworks do not, and call the result a convolution all the same. So do we.)
"""

# %% [markdown] only="slides" slide="slide"
r"""
## One formula, seven indices

$$y[n,h,w,q] = \sum_{i,j,c} x[n,\,h+i,\,w+j,\,c]\cdot w[i,j,c,q]$$

- four indices say *which* output: picture n, row h, column w, channel q
- three are summed: window row i, window column j, input channel c
- work: $2\,N H' W' K\,k^2 C$ floating-point operations

What would you write first?
"""

# %% [markdown]
r"""
Here is the formula as code. Six of its seven indices are Python loops. The seventh, the output channel q, is one
NumPy operation on K numbers. This is the baseline that your answer is measured against, exactly as it stands.
"""

# %%
def six_loops(x, w):
    """Six nested loops: n, h, w, i, j and c.

    Inside: one number of x times the K weights w[i, j, c, :], added to K outputs.
    """
    import numpy as np

    N, H, W, C = x.shape
    k, _, _, K = w.shape
    y = np.zeros((N, H - k + 1, W - k + 1, K), np.float32)
    for n in range(N):
        for r in range(H - k + 1):
            for s in range(W - k + 1):
                for i in range(k):
                    for j in range(k):
                        for c in range(C):
                            y[n, r, s] += x[n, r + i, s + j, c] * w[i, j, c]
    return y

# %% [markdown]
r"""
To time it we count processor time on one thread, and take the median of a few blocks. FLOPs are counted from the
formula: one multiplication and one addition for each term of each output.
"""

# %%
import time

from threadpoolctl import threadpool_limits

threadpool_limits(1)                # NumPy's matrix product, too, uses one thread from here on

def seconds(function, *args, least=0.02, blocks=7):
    """Processor seconds of one call: the median of blocks of at least `least` seconds."""
    calls, times = 1, []
    while len(times) < blocks:
        begin = time.process_time()
        for _ in range(calls):
            function(*args)
        spent = time.process_time() - begin
        if spent >= least or calls >= 10_000:
            times.append(spent / calls)
        else:
            calls *= 2
    return float(np.median(times))

def flops(x, w):
    """Floating-point operations of the convolution of x (N, H, W, C) with w (k, k, C, K)."""
    (N, H, W, C), (k, _, _, K) = x.shape, w.shape
    return 2 * N * (H - k + 1) * (W - k + 1) * K * k * k * C

def layer(N, H, C, K, k=3):
    """Random pictures (N, H, H, C) and a random kernel (k, k, C, K)."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((N, H, H, C), dtype=np.float32)
    w = rng.standard_normal((k, k, C, K), dtype=np.float32)
    return x, w

x, w = layer(N=2, H=28, C=16, K=32)
loops = seconds(six_loops, x, w, blocks=1)
speed = flops(x, w) / loops / 1e9
print(f"{flops(x, w) / 1e6:.1f} MFLOP in {loops * 1e3:.0f} ms: {speed:.3f} GFLOP/s, "
      f"{speed / machine.gemm_gflops(1):.2%} of what one thread can do in a matrix product")

# %% [markdown]
r"""
The processor is not slow at multiplying. For each handful of products Python looks up names, makes small arrays and
throws them away. We want to hand over *all* the products at once, to a library that knows how to multiply matrices.
For that the numbers have to lie in a matrix.

## 3. Every window becomes a row

Move the window with the mouse or with the arrow keys. On the left you see what it reads. On the right you see the
row that these numbers become. How often is a pixel in the middle read? How often one in a corner?
"""

# %%
widgets.im2col(height=6, width=6, kernel=3)

# %% [markdown]
r"""
Making the matrix on the right is called *im2col*, image to columns. The matrix itself we call the **patch matrix**:
one row for each output pixel, one column for each number in the window.

**Predict.** Take a large picture, k = 3, stride 1. By what factor is the patch matrix larger than the picture? Write
your number in place of the dots.
"""

# %% predict="patch_expansion"
predict("patch_expansion", 9)

# %% check="patch_expansion"
check("patch_expansion")

# %% [markdown]
r"""
A picture has a border, where pixels are read less often. So the factor is a little smaller for real pictures, and
bigger for bigger kernels:
"""

# %%
for k in (1, 3, 5):
    factors = {H: k * k * (H - k + 1) ** 2 / H ** 2 for H in (8, 28, 224)}
    print(f"k = {k}:", *(f" {factor:5.1f}x at {H}x{H}" for H, factor in factors.items()))

# %% [markdown] slide="subslide"
r"""
### The same numbers, nine times

For a k×k window and stride 1 the patch matrix is $k^2 \cdot H'W'/(HW)$ times as large as the picture. For 3×3 that
goes to **9**. It holds no new number: every one of them is already in x, at a place that we can compute. So, do we
have to write it at all?
"""

# %% [markdown]
r"""
A *view* is an array that owns no numbers: a starting address, a shape, and strides. Two axes of a view may have the
same stride. Then different indices lead to the same byte, and the nine copies cost nothing.

The row number of a pixel inside a window is `h + i`. One step in h and one step in i move by the same distance in
memory. The same goes for w and j.

**Write `im2col`.** Six axes: which window (n, h, w), then where in the window (i, j, c):

$$p[n,h,w,i,j,c] \;=\; x[n,\,h+i,\,w+j,\,c].$$

`np.lib.stride_tricks.as_strided(x, shape, strides)` makes a view with any shape and strides. It checks nothing, so a
wrong stride reads somewhere else in memory. Use `x.strides` rather than numbers, so that it also works for arrays
that are themselves views.
"""

# %% exercise="im2col"
def im2col(x, k):
    """Every k×k patch of x, without copying.

    x : (N, H, W, C) float32. Returns a *view* of shape (N, H-k+1, W-k+1, k, k, C).
    About 4 lines. Hint: the stride of "one pixel to the right" appears twice.
    """
    ### BEGIN SOLUTION
    N, H, W, C = x.shape
    n, h, w, c = x.strides
    shape, strides = (N, H - k + 1, W - k + 1, k, k, C), (n, h, w, h, w, c)
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)
    ### END SOLUTION

# %% check="im2col"
# The picture shows one window, the patch that should come of it, and yours. Then the verdict.
check("im2col")

# %% [markdown]
r"""
On real pictures: 64 pieces of clothing from Fashion-MNIST. How much does the view *claim* to hold, and how much
memory is behind it?
"""

# %% uses="im2col"
from hpml import data

fashion = data.load("fashion-mnist-mini")
clothes = fashion.x_train[:64].astype(np.float32) / 255
patches = im2col(clothes, 3)
print(f"pictures {clothes.nbytes / 1e6:.2f} MB, patches {patches.nbytes / 1e6:.2f} MB:",
      f"{patches.nbytes / clothes.nbytes:.1f} times as much,",
      "in the same memory" if np.shares_memory(patches, clothes) else "in memory of their own")

# %% [markdown] slide="slide"
r"""
## 4. One product

![The patch matrix times the weight matrix is the output](figures/gemm.svg)

A row of the patch matrix lists the $k^2C$ numbers of one window. A column of the weight matrix lists the $k^2C$
weights of one output channel. Row times column is one output number. All rows times all columns is the convolution:
**one GEMM**, a general matrix product.
"""

# %% [markdown]
r"""
$$\underbrace{Y}_{N H' W' \times K} \;=\; \underbrace{P}_{N H' W' \times k^2 C} \cdot \underbrace{M}_{k^2 C \times K}.$$

With HWIO, M is the kernel itself: `w.reshape(k*k*C, K)` is a view. P is another matter. No strides describe its rows
*and* its columns with one step each, so `reshape` has to write it out. **Here is the copy**: nine times the picture,
written once and read once.

What does that cost? One number of the patch matrix is 4 bytes written and 4 bytes read. It takes part in one
multiplication and one addition for each of the K output channels. So, as far as the patch matrix goes, the work per
byte is

$$\frac{2K\ \text{FLOP}}{8\ \text{byte}} \;=\; \frac{K}{4}\ \text{FLOP/byte}.$$

Neither the size of the picture nor that of the kernel appears in it. Compare it with the ridge point of your machine,
the work per byte above which arithmetic is the limit:
"""

# %%
ridge = machine.gemm_gflops(1) / machine.bandwidth_gbs(1)
print(f"ridge point of one thread: {machine.gemm_gflops(1):.0f} GFLOP/s / "
      f"{machine.bandwidth_gbs(1):.0f} GB/s = {ridge:.1f} FLOP/byte")
print(f"patch matrix with K = 32: {32 / 4:.1f} FLOP/byte")

# %% [markdown]
r"""
**Predict.** What percentage of your machine's GEMM peak will your convolution reach, on one thread, for two pictures
of 28×28 with 16 channels, K = 32 and k = 3? This patch matrix is small: it may stay in a cache, which is faster than
memory.
"""

# %% predict="peak_fraction"
predict("peak_fraction", 60)

# %% [markdown]
r"""
**Write `conv_gemm`**: the patch matrix from your `im2col`, one product, and the result back in its four axes.

It is measured twice: against the six loops, and against the convolution of TensorFlow. The loops are easy to beat.
How near do you come to the framework?
"""

# %% exercise="conv_gemm"
def conv_gemm(x, w):
    """The convolution as one matrix product.

    x : (N, H, W, C), w : (k, k, C, K), both float32. Returns y : (N, H-k+1, W-k+1, K), float32.
    About 5 lines. Use your im2col.
    """
    ### BEGIN SOLUTION
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    runs = patches.reshape(N, H, W, k, k * C)       # still a view: j and c are neighbours
    columns = runs.reshape(N * H * W, k * k * C)    # the copy
    return (columns @ w.reshape(k * k * C, K)).reshape(N, H, W, K)
    ### END SOLUTION

# %% check="conv_gemm"
# One channel of the input, of the expected output and of yours, and where they differ.
# Then the verdict: paired samples, both targets.
check("conv_gemm")

# %% check="peak_fraction"
check("peak_fraction")

# %% [markdown]
r"""
What your function sees in a shirt. The four kernels are not learned: the Sobel filters for vertical and for
horizontal edges, a filter for corners and points, and an average. Four kernels are one weight matrix with K = 4
columns, and one product makes all four pictures.
"""

# %% uses="conv_gemm"
sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
point = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32)
average = np.full((3, 3), 1 / 9, np.float32)
kernels = np.stack([sobel, sobel.T, point, average], axis=-1)[:, :, None, :]    # (3, 3, 1, 4)

is_shirt = fashion.y_train == fashion.classes.index("Shirt")
shirt = fashion.x_train[is_shirt][:1].astype(np.float32) / 255
maps = conv_gemm(shirt, kernels)[0]

figure, axes = plots.figure(9, 2.3, columns=5)
axes[0].imshow(shirt[0, :, :, 0], cmap="gray")
axes[0].set_title("a shirt")
for q, name in enumerate(["vertical edges", "horizontal edges", "points", "average"]):
    top = abs(maps[..., q]).max()
    axes[q + 1].imshow(maps[..., q], cmap="PuOr", vmin=-top, vmax=top)
    axes[q + 1].set_title(name)
for axis in axes:
    axis.set_axis_off()
figure

# %% [markdown] slide="notes"
r"""
The four feature maps come from one product. In a network the kernels are learned, and there are hundreds of them: the
matrix gets wider, and the product more efficient.
"""

# %% [markdown]
r"""
## 5. Which numbers are neighbours?

In NHWC the C channels of a pixel are neighbours, and so are pixels in a row. One row of a window is therefore *one
run* of k·C numbers in memory. In NCHW, channels first, a run is k numbers long. The patch matrix holds the same
numbers in both cases. Is it equally fast to write?
"""

# %%
nhwc, _ = layer(N=8, H=56, C=32, K=1)
nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))
window = np.lib.stride_tricks.sliding_window_view
long_runs = window(nhwc, (3, 3, 32), axis=(1, 2, 3))[:, :, :, 0].reshape(8, 54, 54, 3, 96)
short_runs = window(nchw, (32, 3, 3), axis=(1, 2, 3))[:, 0]             # views: no copy yet
runs = {
    "NHWC, runs of k*C numbers": lambda: long_runs.reshape(-1, 288),
    "NCHW, runs of k numbers": lambda: short_runs.reshape(-1, 288),
}
for name, copy in runs.items():
    print(f"{name:27s} {copy().nbytes / seconds(copy, blocks=3) / 1e9:5.1f} GB/s written")

# %% [markdown]
r"""
Does your `conv_gemm` profit from the long runs? NumPy copies along the last axis of what it is given. If you reshape
the six axes of your view in one step, the last axis has C numbers. A first `reshape` to `(N, H', W', k, k*C)` is
still a view, and its last axis is a whole run. Try it: change your cell above, run it, and check it again.
"""

# %% [markdown] slide="slide"
r"""
## Layout is speed

- **NHWC** (`x[n, h, w, c]`): one row of a window is one run of k·C numbers.
- **NCHW** (`x[n, c, h, w]`): the same row of the window is C runs of k numbers.
- Both give the same patch matrix, up to the order of its columns. Only the order of *reading* differs.
- HWIO kernels are the weight matrix already: no copy at all.

A layout is a promise about which numbers you will ask for together.
"""

# %% [markdown] slide="slide"
r"""
## 6. The knee

The patch matrix brings K/4 FLOP for each byte. So let K grow, and nothing else. If memory is the limit, the speed
grows in proportion to K. If arithmetic is, it stays where it is. Between the two there has to be a knee.
"""

# %% uses="conv_gemm"
channels = [1, 2, 4, 8, 16, 32, 64, 128, 256]
speeds = []
for K in channels:
    x, w = layer(N=8, H=56, C=32, K=K)
    speeds.append(flops(x, w) / seconds(conv_gemm, x, w, blocks=5) / 1e9)

figure, axis = plots.figure(7, 4)
axis.loglog(channels, speeds, "o-", label="your conv_gemm, 8 pictures of 56×56, C = 32, k = 3")
K = np.geomspace(1, 256, 200)
roof = np.minimum(K / 4 * machine.bandwidth_gbs(1), machine.gemm_gflops(1))
axis.loglog(K, roof, "--", color=plots.INK, lw=1,
            label="roofline of the patch matrix: K/4 FLOP/byte")
levels = [1, 2, 5, 10, 20, 50, 100, 200, 500]
axis.set_xticks(channels, channels)
axis.set_yticks(levels, levels)
axis.set_ylim(min(speeds) / 1.4, 1.4 * max(roof))
axis.set_xlabel("output channels K")
axis.set_ylabel("GFLOP/s on one thread")
axis.legend()
figure

# %% [markdown]
r"""
**Explain.** Why does the curve rise, and why does it bend? Where is the knee on your machine, and is it where the
dashed line has its own? Name what moves through memory, compare its bytes with the arithmetic, and use numbers: those
of your verdict on `conv_gemm`, and of this plot. Four to eight sentences.
"""

# %% [markdown] manual="explain_knee"
r"""
For few output channels the patch matrix is the limit. It is written once and read once: 8 bytes for each of its
numbers, and each of them is used for 2K operations, so it brings K/4 FLOP per byte. With K = 1 that is 0.25 FLOP per
byte, far below the ridge point of about {{ridge}} FLOP per byte: time is memory traffic, and twice the channels come
in the same time. The product itself would not need this traffic: read and written once, the input, kernel and output
of the measured layer allow {{intensity}} FLOP per byte. The curve bends at K = 32 or so, where K/4 comes near the
ridge point; beyond it the product is the limit and the curve goes towards the GEMM peak. It stays below the dashed
line near the knee, because copy and product come one after the other: their times add up, where the roofline takes
the larger. In my verdict conv_gemm reached about {{percent}} % of the peak at K = 32, and the copy took about
{{copy_share}} % of its time.
"""

# %% [markdown] slide="slide"
r"""
## 7. Backward: two more products

Forward is $Y = P\,M$. Training needs the gradients of the loss with respect to the weights and to the pictures, from
$dY$, the gradient with respect to the output. For a matrix product they are matrix products:

$$dM = P^{\mathsf T}\, dY, \qquad\qquad dP = dY\, M^{\mathsf T}.$$
"""

# %% [markdown]
r"""
The first is $dw$ once its shape is (k, k, C, K) again. Its sum runs over all windows of all pictures, as it has to:
each of them used the same weights.

The second is the gradient of every *copy* of a pixel. A pixel was copied into up to $k^2$ windows, so $dx$ gathers up
to $k^2$ of these numbers. Follow one pixel: $x[h, w]$ went, times $w[i, j]$, into $y[h-i, w-j]$. So

$$dx[n,h,w,c] \;=\; \sum_{i,j,q} dy[n,\,h-i,\,w-j,\,q]\cdot w[i,j,c,q],$$

where dy counts as zero outside its borders. That is the formula of a convolution again: over dy with a border of k −
1 zeros on every side, with the window running backward, and with input and output channels exchanged. You have a
function for that.

**Write `conv_gradients`.** `np.pad` adds the border.
"""

# %% exercise="conv_gradients"
def conv_gradients(x, w, dy):
    """Gradients of the convolution with respect to x and w.

    x : (N, H, W, C), w : (k, k, C, K), dy : (N, H-k+1, W-k+1, K), all float32.
    Returns the tuple (dx, dw), shaped like x and w.
    About 6 lines. Use im2col for dw and conv_gemm for dx.
    """
    ### BEGIN SOLUTION
    k, _, C, K = w.shape
    columns = im2col(x, k).reshape(-1, k * k * C)
    dw = (columns.T @ dy.reshape(-1, K)).reshape(w.shape)
    border = (k - 1, k - 1)
    padded = np.pad(dy, ((0, 0), border, border, (0, 0)))
    dx = conv_gemm(padded, w[::-1, ::-1].transpose(0, 1, 3, 2))
    return dx, dw
    ### END SOLUTION

# %% check="conv_gradients"
# Top: dx, bottom: dw; expected, yours, and the difference. Then the verdict.
check("conv_gradients")

# %% [markdown]
r"""
Do these gradients learn? Here are 64 pieces of clothing and their vertical edges, made with the Sobel kernel.
Gradient descent gets the pictures and the edges, but not the kernel. It starts from zeros:
"""

# %% uses="conv_gemm conv_gradients"
edges = conv_gemm(clothes, sobel[:, :, None, None])
learned, velocity, losses, moments = np.zeros((3, 3, 1, 1), np.float32), 0, [], {}
for step in range(101):
    if step in (0, 3, 10, 30, 100):
        moments[step] = learned[:, :, 0, 0].copy()
    error = conv_gemm(clothes, learned) - edges
    losses.append(float((error ** 2).mean()))
    _, dw = conv_gradients(clothes, learned, 2 * error / error.size)
    velocity = 0.9 * velocity - 0.5 * dw
    learned = learned + velocity

figure, axes = plots.figure(9, 2.2, columns=6)
axes[0].semilogy(losses)
axes[0].set(title="error", xlabel="step")
for axis, (step, kernel) in zip(axes[1:], moments.items(), strict=True):
    axis.imshow(kernel, cmap="PuOr", vmin=-2, vmax=2)
    axis.set_title(f"step {step}")
    axis.set_axis_off()
    for (i, j), value in np.ndenumerate(kernel):
        ink = "white" if abs(value) > 1.3 else "black"
        axis.text(j, i, f"{round(value, 1) + 0:.1f}", ha="center", va="center", color=ink)
figure

# %% [markdown] slide="subslide"
r"""
### A kernel, learned

From pictures and their edges, gradient descent finds the Sobel kernel that made the edges. Nobody showed it the
kernel. Forward is one product, backward two: each step of learning a feature is three matrix products.
"""

# %% [markdown]
r"""
## 8. Less memory

Nine times the picture is a nuisance for 28×28 pixels. For a minibatch of 64 pictures of 56×56 with 32 channels it is
{{big_patches}} MB, for an output of {{big_output}} MB. Every layer of a network would need that.

But no row of the product needs the others. So make a *tile*: the patches of a few rows of one picture, multiply, keep
the result, and reuse the memory for the next tile.

**Write `conv_tiled`.** It gets a `budget` in bytes for the patch matrix, which is always enough for the patches of
one row of one picture's output. The check measures the peak memory from outside, on the layer above: at most 64 MB
more than before the call, the result included. A height that is no multiple of your tile has to work, too.
"""

# %% exercise="conv_tiled"
def conv_tiled(x, w, budget):
    """The same convolution, with a patch matrix of at most `budget` bytes at a time.

    x : (N, H, W, C), w : (k, k, C, K), both float32.
    budget : bytes, enough for one row of one picture's output.
    Returns y : (N, H-k+1, W-k+1, K), float32. About 9 lines.
    """
    ### BEGIN SOLUTION
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    rows = min(H, budget // (W * k * k * C * x.itemsize))
    y = np.empty((N, H, W, K), x.dtype)
    for n in range(N):
        for top in range(0, H, rows):
            tile = patches[n, top:top + rows]
            columns = tile.reshape(len(tile), W, k, k * C).reshape(-1, k * k * C)
            y[n, top:top + rows] = (columns @ w.reshape(-1, K)).reshape(len(tile), W, K)
    return y
    ### END SOLUTION

# %% check="conv_tiled"
# The picture is that of conv_gemm. The verdict counts the bytes of the peak.
check("conv_tiled")

# %% [markdown]
r"""
The same arithmetic, in more and smaller pieces. Is it slower? Try some budgets, from a row or two at a time to a
whole picture at a time:
"""

# %% uses="conv_gemm conv_tiled"
x, w = layer(N=8, H=56, C=32, K=32)
whole = 8 * 54 * 54 * 288 * 4
budgets = [whole // 8 // 2 ** p for p in (5, 4, 3, 2, 1, 0)]
tiled_speeds = [flops(x, w) / seconds(conv_tiled, x, w, b, blocks=5) / 1e9 for b in budgets]
gemm_speed = flops(x, w) / seconds(conv_gemm, x, w, blocks=5) / 1e9

figure, axis = plots.figure(7, 3.4)
axis.semilogx([b / 1e6 for b in budgets], tiled_speeds, "o-", label="conv_tiled")
axis.plot([whole / 1e6], [gemm_speed], "s", label="conv_gemm: the whole patch matrix")
axis.set_xticks([0.1, 0.3, 1, 3, 10, 30], ["0.1", "0.3", "1", "3", "10", "30"])
axis.set_xlabel("budget of the patch matrix, MB")
axis.set_ylabel("GFLOP/s on one thread")
axis.set_ylim(0, 1.1 * max(*tiled_speeds, gemm_speed))
axis.legend()
figure

# %% [markdown] slide="slide"
r"""
## Small tiles are not slow tiles

- A tile that fits into a cache is written and read *there*. The patch matrix never travels to memory and back.
- Every call of the product has its overhead, so a tile of one row is too small.
- **Less memory, and faster**: on the machine of this text {{tiled_gain}} times as fast as the whole patch matrix at
  once, for 64 pictures of 56×56.

Libraries go one step further: they gather the patches while they copy pieces of the matrix into the cache, as every
matrix product does anyway. The patch matrix is then never written. That is called *implicit GEMM*.
"""

# %% [markdown]
r"""
## 9. On the roofline, beside a framework

TensorFlow's convolution is the work of a library called oneDNN on a processor, and cuDNN on a graphics processor. We
call the operation itself, with NumPy arrays in and a NumPy array out, on one thread as everything else. The
horizontal position of a point is the work per byte that the layer *allows*: input, kernel and output each moved once.
The hollow circle is `conv_gemm` again, with the patch matrix counted in. The dashed line is TensorFlow's own matrix
product. If it lies above NumPy's, the two libraries use the same processor differently; the next section looks into
that.
"""

# %% uses="conv_gemm conv_tiled"
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

def framework_conv(x, w):
    """TensorFlow's convolution operation, called directly.

    NumPy arrays in, NumPy array out, conversions included.
    """
    return tf.raw_ops.Conv2D(input=x, filter=w, strides=[1, 1, 1, 1], padding="VALID").numpy()

x, w = layer(N=8, H=56, C=32, K=32)
few = x[:1, :8, :8]
copier = np.eye(288, dtype=np.float32).reshape(3, 3, 32, 288)      # a kernel that only copies
columns = conv_gemm(x, copier).reshape(-1, 288)                    # so this is the patch matrix
square = np.random.default_rng(1).standard_normal((1024, 1024), dtype=np.float32)

rates = {
    "six loops": flops(few, w) / seconds(six_loops, few, w, blocks=1),
    "conv_gemm": flops(x, w) / seconds(conv_gemm, x, w),
    "conv_tiled, 1 MB": flops(x, w) / seconds(conv_tiled, x, w, 1_000_000),
    "its product alone": flops(x, w) / seconds(lambda: columns @ w.reshape(-1, 32)),
    "framework": flops(x, w) / seconds(framework_conv, x, w),
}
matmul = tf.constant(square)
framework_peak = 2 * 1024 ** 3 / seconds(lambda: tf.matmul(matmul, matmul).numpy())
moved = x.nbytes + w.nbytes + conv_gemm(x, w).nbytes
allowed, with_patches = flops(x, w) / moved, flops(x, w) / (moved + 2 * columns.nbytes)
for name, rate in rates.items():
    print(f"{name:18s} {rate / 1e9:8.3f} GFLOP/s"
          f"   {rate / rates['framework']:8.4f} of the framework"
          f"   {rate / machine.gemm_gflops(1) / 1e9:7.2%} of NumPy's GEMM peak")
print(f"FLOP/byte: {allowed:.1f} allowed, {with_patches:.1f} with the patch matrix")

# %% uses="conv_gemm conv_tiled"
peak, bandwidth = machine.gemm_gflops(1), machine.bandwidth_gbs(1)
left, right = 0.3, 1000

figure, axis = plots.figure(8, 5)
axis.loglog([left, ridge, right], [left * bandwidth, peak, peak], color=plots.INK)
axis.loglog([left, right], [framework_peak / 1e9] * 2, "--", color="0.5", lw=1)
products = f"NumPy's {peak:.0f} GFLOP/s; dashed: TensorFlow's {framework_peak / 1e9:.0f}"
axis.annotate(f"matrix product: {products}", (left * 1.2, 3 * peak), fontsize=10)
axis.annotate(f"memory, {bandwidth:.0f} GB/s", (1.1, 0.55 * bandwidth), fontsize=10)
order = sorted(rates.keys() - {"its product alone"}, key=rates.get, reverse=True)
for name, mark, size in zip(order, "^Dso", (15, 8, 8, 8), strict=True):
    speed = rates[name] / 1e9
    axis.plot(allowed, speed, mark, ms=size, mec="white", label=f"{name}: {speed:.3g} GFLOP/s")
axis.plot(with_patches, rates["conv_gemm"] / 1e9, "o", ms=9, mfc="none", mec=plots.INK,
          label="conv_gemm, patch matrix counted")
axis.legend(loc="lower left")
axis.set(xlim=(left, right), xlabel="work per byte of memory traffic, FLOP/byte",
         ylim=(0.02, 6 * peak), ylabel="GFLOP/s on one thread",
         title="One layer, four programs, one thread")
figure

# %% [markdown] only="slides" slide="slide"
r"""
## One layer, four programs, one thread

![64 pictures of 56×56 with 32 channels on the roofline](figures/roofline.svg)

64 pictures of 56×56, 32 → 32 channels, 3×3. {{here}}
"""

# %% [markdown] slide="notes"
r"""
In the notebook, the dashed line is TensorFlow's own matrix product on the same thread. If it lies far above NumPy's,
the two libraries use different instructions of the same processor: see the section after this one.
"""

# %% [markdown]
r"""
## 10. How far can NumPy go?

You have tried the layout (runs of k·C numbers) and blocking (tiles in a cache). Three ideas are left.

**No patch matrix at all.** Sum k² products, one for each position (i, j) in the window: $Y = \sum_{i,j} X_{i,j}\,
M_{i,j}$, where $X_{i,j}$ is the picture, shifted. Nothing is copied, but Y is read and written k² times.

**More threads.** The product can use them all. The copy cannot: NumPy copies with one.

**The inner loop.** The innermost loop of a matrix product is written by hand for each kind of processor, and chosen
when the library is loaded. You did not write it, but how much of your speed is its work? Which one did your NumPy
choose?
"""

# %%
from threadpoolctl import threadpool_info

found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
blas = next((lib for lib in found if "numpy" in lib["filepath"]), {})
print("NumPy's matrix product:", blas.get("internal_api", "unknown"), blas.get("version", ""),
      "with the inner loop for", blas.get("architecture", "an unknown processor"))

# %% [markdown]
r"""
OpenBLAS takes orders before it is loaded, in the environment variable `OPENBLAS_CORETYPE`. `Haswell` was a processor
of 2013: its loop multiplies 8 numbers at a time (AVX2), where newer ones do 16 (AVX-512). A library that is older
than its processor falls back to such a loop without a word. The next cell starts a second Python, which runs *your*
functions again on the loop of 2013. If that is the one you have, on a processor that can do more, it orders a newer
one.
"""

# %% uses="im2col conv_gemm conv_tiled"
import inspect
import json
import platform
import subprocess
import sys
from pathlib import Path


def conv_products(x, w):
    """k·k products for each picture: y gains x, shifted by (i, j), times w[i, j]."""
    k, _, C, K = w.shape
    N, H, W = x.shape[0], x.shape[1] - k + 1, x.shape[2] - k + 1
    y = np.zeros((N, H, W, K), x.dtype)
    for n in range(N):
        for i in range(k):
            for j in range(k):
                y[n] += x[n, i:i + H, j:j + W] @ w[i, j]
    return y

measure = """
ways = {
    "conv_gemm": conv_gemm,
    "conv_tiled": lambda x, w: conv_tiled(x, w, 1_000_000),
    "k*k products": conv_products,
}
x, w = layer(N=8, H=56, C=32, K=32)
print(json.dumps({name: flops(x, w) / seconds(way, x, w) / 1e9 for name, way in ways.items()}))
"""
functions = (seconds, flops, layer, im2col, conv_gemm, conv_tiled, conv_products)
sources = map(inspect.getsource, functions)
program = "\n".join(["import json, time", "import numpy as np", *sources, measure])

def in_a_second_python(**orders):
    """GFLOP/s of each way: a fresh process, one thread, these environment variables."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **orders}
    done = subprocess.run([sys.executable, "-c", program], env=environment,
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)

# First once in this Python: if one of your functions is still open, this line says so.
conv_tiled(*layer(N=1, H=8, C=1, K=1), 1_000_000), conv_gemm(*layer(N=1, H=8, C=1, K=1))

mine = blas.get("architecture", "unknown")
results = {f"as chosen: {mine}": in_a_second_python()}
if blas.get("internal_api") == "openblas" and platform.machine() in ("x86_64", "AMD64"):
    processor = Path("/proc/cpuinfo")
    can_do_more = processor.exists() and "avx512f" in processor.read_text()
    other = "SkylakeX" if mine in ("Haswell", "Zen") and can_do_more else "Haswell"
    results[f"as ordered: {other}"] = in_a_second_python(OPENBLAS_CORETYPE=other)

best = rates["framework"] / 1e9
figure, axis = plots.figure(8, 3.6)
for n, (loop, found) in enumerate(results.items()):
    places, speeds = np.arange(len(found)) + 0.36 * n, list(found.values())
    bars = axis.barh(places, speeds, 0.34, label=f"inner loop {loop}")
    shares = [f"{speed / best:.2f}" for speed in speeds]
    axis.bar_label(bars, shares, padding=-32, color="white", fontweight="bold")
axis.axvline(best, color="0.5", ls="--")
axis.set_yticks(np.arange(len(found)) + 0.18 * (len(results) - 1), list(found))
axis.invert_yaxis()
axis.set(xlabel="GFLOP/s on one thread; dashed: the framework; in the bars: the fraction of it",
         title="The same Python, on two inner loops")
figure.legend(loc="outside lower center", ncols=2, fontsize=10)
figure

# %% [markdown] slide="slide"
r"""
## How far can NumPy go?

{{here}}

On one thread, as a fraction of the framework's convolution:

| | two 28×28 pictures, 16 → 32 channels | 64 pictures 56×56, 32 → 32 channels |
|---|---|---|
| conv_gemm | {{fraction}} | {{big_gemm_fraction}} |
| conv_tiled | | {{big_tiled_fraction}} |
| conv_gemm, inner loop of 2013 | {{fraction_avx2}} | {{big_gemm_fraction_avx2}} |
| conv_tiled, inner loop of 2013 | | {{big_tiled_fraction_avx2}} |

Small layer: everything stays in the caches, and NumPy draws level. Large layer: the patch matrix goes out to memory.
"""

# %% [markdown]
r"""
What is left is what Python cannot say. A matrix product copies pieces of both matrices into buffers that fit into the
cache and match the registers (Goto and van de Geijn, 2008). Our patches are copied once by us, and then a second time
by the product. A framework's convolution gathers them in that second copy, and saves the first.

And the threads? Now it has to be wall time, since several threads share the work. If more of them are slower here,
another program is using the cores: every thread of a product waits for the last one.
"""

# %% uses="conv_gemm conv_tiled"
def wall(function, *args, times=9):
    """Seconds on the wall: the best of several calls, which a busy machine disturbs least."""
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        function(*args)
        best = min(best, time.perf_counter() - begin)
    return best

cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
parts = {
    "the product alone": lambda: columns @ w.reshape(-1, 32),
    "conv_gemm": lambda: conv_gemm(x, w),
}
for name, way in parts.items():
    with threadpool_limits(1):
        one = wall(way)
    with threadpool_limits(cores):
        many = wall(way)
    print(f"{name:18s} {one * 1e3:6.1f} ms on 1 thread, {many * 1e3:6.1f} ms on {cores}: "
          f"{one / many:.2f} times as fast")

# %% [markdown] slide="slide"
r"""
## What to take home

**A convolution is a matrix product whose left matrix is a picture, read $k^2$ times over. Strides say so for free;
writing it out makes it one call of the fastest routine that a machine has, and costs $k^2$ times the memory. Forward
is one product, backward two more. How fast it runs is decided by where the copies live, not by the arithmetic.**
"""

# %% [markdown] only="slides" slide="slide"
r"""
## Why this opened the door to graphics processors

- Graphics processors came without libraries for neural networks, but they could be made to multiply matrices. im2col
  turned every convolutional layer into that.
- The libraries followed the same road: cuDNN's first paper describes convolution as a matrix product whose patch
  matrix is made on the fly, in fast memory.
- Large networks are still mostly GEMM. That is why hardware is built, and sold, by the speed of its matrix products.

*K. Chellapilla, S. Puri, P. Simard, 2006; S. Chetlur et al., 2014; V. Codreanu, SURFsara / PRACE, 2018*
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

- K. Chellapilla, S. Puri, P. Simard: *High Performance Convolutional Neural Networks for Document Processing* (2006).
  Convolution unrolled into a matrix product, on processors and on graphics cards, years before AlexNet.
- S. Chetlur et al.: *cuDNN: Efficient Primitives for Deep Learning* (2014). The patch matrix without its memory.
- K. Goto, R. van de Geijn: *Anatomy of High-Performance Matrix Multiplication* (2008). What happens inside `@`.
- A. Lavin, S. Gray: *Fast Algorithms for Convolutional Neural Networks* (2016). Winograd's way to need fewer
  multiplications for 3×3: then the arithmetic does change.
- V. Codreanu: *Introduction to High-Performance Machine Learning: Convolutional Neural Networks* (SURFsara / PRACE,
  2018). The lecture behind this lab.
"""
