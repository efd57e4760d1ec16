# exercise: work
# outcome: wrong
# shows: each time it is used
# why: two numbers are fetched for each product, as if nothing were ever kept
def work(kind, *shape):
    if kind == "axpy":
        n, = shape
        return np.array([2.0 * n, 12.0 * n])
    if kind == "dense":
        B, D, K = shape
        products, outputs = B * D * K, B * K
    else:
        N, H, W, C, K, k = shape
        outputs = N * (H - k + 1) * (W - k + 1) * K
        products = outputs * k * k * C
    return np.array([2.0 * products, 4.0 * (2 * products + outputs)])
