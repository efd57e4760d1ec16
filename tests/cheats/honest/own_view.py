# exercise: top
# outcome: pass
# why: the same view by another way
def top(x):
    return np.lib.stride_tricks.as_strided(x, (x.shape[0] // 2,), x.strides)
