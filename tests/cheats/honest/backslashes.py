# exercise: double
# outcome: pass
# why: a docstring with backslashes, such as a formula
def double(x):
    """Computes \sum_{d} 2 x_d over \mathbb{R}^n, that is, twice x."""
    return x + x
