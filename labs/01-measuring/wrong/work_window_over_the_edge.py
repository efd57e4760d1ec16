# exercise: work
# outcome: wrong
# shows: its last cell may not pass
# why: a window at every pixel, also where it does not fit
def work(kind, *shape):
    if kind == "axpy":
        n, = shape
        return np.array([2.0 * n, 12.0 * n])
    if kind == "dense":
        B, D, K = shape
        return np.array([2.0 * B * D * K, 4.0 * (B * D + D * K + B * K)])
    N, H, W, C, K, k = shape
    outputs = N * H * W * K
    return np.array([2.0 * outputs * k * k * C, 4.0 * (N * H * W * C + k * k * C * K + outputs)])
