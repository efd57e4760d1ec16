# exercise: total
# outcome: pass
# why: a scratch buffer of its own, kept between calls
_scratch = {}


def total(x):
    y = _scratch.setdefault(x.shape, np.empty_like(x))
    np.multiply(x, 2, out=y)
    return y.sum(keepdims=True)
