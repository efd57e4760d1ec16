# exercise: im2col
# outcome: wrong
# shows: expected (1, 4, 4, 3, 3, 1)
# why: H - k windows in a row instead of H - k + 1: the last one is forgotten
def im2col(x, k):
    N, H, W, C = x.shape
    n, h, w, c = x.strides
    return np.lib.stride_tricks.as_strided(x, (N, H - k, W - k, k, k, C), (n, h, w, h, w, c))
