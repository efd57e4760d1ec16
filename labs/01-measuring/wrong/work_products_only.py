# exercise: work
# outcome: wrong
# shows: also added to a sum
# why: counts multiplications and forgets the additions: MACs, not FLOPs
def work(kind, *shape):
    if kind == "axpy":
        n, = shape
        return np.array([n, 12.0 * n])
    if kind == "dense":
        B, D, K = shape
        return np.array([B * D * K, 4.0 * (B * D + D * K + B * K)])
    N, H, W, C, K, k = shape
    outputs = N * (H - k + 1) * (W - k + 1) * K
    return np.array([outputs * k * k * C, 4.0 * (N * H * W * C + k * k * C * K + outputs)])
