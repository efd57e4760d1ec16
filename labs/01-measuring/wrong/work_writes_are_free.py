# exercise: work
# outcome: wrong
# shows: results have to be written
# why: counts what is read and forgets what is written
def work(kind, *shape):
    if kind == "axpy":
        n, = shape
        return np.array([2.0 * n, 8.0 * n])
    if kind == "dense":
        B, D, K = shape
        return np.array([2.0 * B * D * K, 4.0 * (B * D + D * K)])
    N, H, W, C, K, k = shape
    outputs = N * (H - k + 1) * (W - k + 1) * K
    return np.array([2.0 * outputs * k * k * C, 4.0 * (N * H * W * C + k * k * C * K)])
