# exercise: work
# outcome: wrong
# shows: a float32 has 4 of them
# why: 8 bytes for each number, as in NumPy's default type
def work(kind, *shape):
    if kind == "axpy":
        n, = shape
        return np.array([2.0 * n, 24.0 * n])
    if kind == "dense":
        B, D, K = shape
        return np.array([2.0 * B * D * K, 8.0 * (B * D + D * K + B * K)])
    N, H, W, C, K, k = shape
    outputs = N * (H - k + 1) * (W - k + 1) * K
    return np.array([2.0 * outputs * k * k * C, 8.0 * (N * H * W * C + k * k * C * K + outputs)])
