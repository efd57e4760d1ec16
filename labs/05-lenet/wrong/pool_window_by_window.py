# exercise: pool
# outcome: partial
# shows: `pool` is right
# why: the loops themselves: correct, and as slow as they are
def pool(x, k, s):
    N, H, W, C = x.shape
    y = np.empty((N, (H - k) // s + 1, (W - k) // s + 1, C), x.dtype)
    for n in range(N):
        for r in range(y.shape[1]):
            for q in range(y.shape[2]):
                y[n, r, q] = x[n, r * s:r * s + k, q * s:q * s + k].max(axis=(0, 1))
    return y
