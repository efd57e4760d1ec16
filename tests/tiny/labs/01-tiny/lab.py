# %% [markdown] slide="slide"
r"""
# How much is twice as much?
"""

# %% given="preamble"
import numpy as np

# %%
import hpml
from hpml import check, predict

hpml.lab("01-tiny")

# %% predict="guess"
predict("guess", 2)

# %% check="guess"
check("guess")

# %% exercise="double"
def double(x):
    """Twice x, a float32 array of any length, as a new array."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% check="double"
check("double")

# %% exercise="top"
def top(x):
    """The first half of x, as a view."""
    ### BEGIN SOLUTION
    return x[:len(x) // 2]
    ### END SOLUTION

# %% check="top"
check("top")

# %% uses="double"
double(np.ones(3, np.float32))

# %% exercise="total"
def total(x):
    """The sum of twice x, as an array of one float32."""
    ### BEGIN SOLUTION
    return double(x).sum(keepdims=True)
    ### END SOLUTION

# %% check="total"
check("total")

# %% exercise="frugal"
def frugal(x):
    """The sum of the squares of x in blocks, as an array of one float32."""
    ### BEGIN SOLUTION
    return np.array([sum(np.dot(b, b) for b in np.array_split(x, 100))], np.float32)
    ### END SOLUTION

# %% check="frugal"
check("frugal")

# %% [markdown] manual="why"
r"""
Because.
"""
