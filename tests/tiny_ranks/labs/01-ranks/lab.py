# %% [markdown] slide="slide"
r"""
# How much is the sum?
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check

hpml.lab("01-ranks")

# %% exercise="ring"
def ring(comm, x):
    """The sum of every rank's x, on every rank, as a new array; its length is a multiple of the number of ranks."""
    ### BEGIN SOLUTION
    n, right, left = comm.size, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    total = x.copy()
    parts = np.split(total, n)
    arriving = np.empty_like(parts[0])
    for step in range(n - 1):
        comm.Sendrecv(parts[(comm.rank - step) % n], right, recvbuf=arriving, source=left)
        parts[(comm.rank - step - 1) % n] += arriving
    for step in range(n - 1):
        comm.Sendrecv(parts[(comm.rank + 1 - step) % n], right, recvbuf=parts[(comm.rank - step) % n], source=left)
    return total
    ### END SOLUTION

# %% check="ring"
check("ring")

# %% exercise="shift"
def shift(comm, x, by):
    """The x of the rank that comes `by` places before this one."""
    ### BEGIN SOLUTION
    y = np.empty_like(x)
    comm.Send(x, (comm.rank + by) % comm.size, tag=by)
    comm.Recv(y, (comm.rank - by) % comm.size, tag=by)
    return y
    ### END SOLUTION

# %% check="shift"
check("shift")

# %% exercise="mean"
def mean(x):
    """The mean of every rank's x, on every rank."""
    ### BEGIN SOLUTION
    import horovod.tensorflow as hvd
    return hvd.allreduce(x, op=hvd.Average).numpy()
    ### END SOLUTION

# %% check="mean"
check("mean")

# %% exercise="train"
def train(x, y, w, steps):
    """`steps` steps down the gradient of the mean squared error of x @ w on all ranks' rows; starts from rank 0's w."""
    ### BEGIN SOLUTION
    import horovod.tensorflow as hvd
    w = hvd.broadcast(w, root_rank=0).numpy()
    for _ in range(steps):
        gradient = 2 * x.T @ (x @ w - y) / len(x)
        w = w - np.float32(0.1) * hvd.allreduce(gradient, op=hvd.Average).numpy()
    return w
    ### END SOLUTION

# %% check="train"
check("train")
