# exercise: double
# outcome: pass
# why: a result with negative strides
def double(x):
    return (2 * x)[::-1].copy()[::-1]
