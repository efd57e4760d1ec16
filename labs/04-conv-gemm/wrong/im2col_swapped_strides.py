# exercise: im2col
# outcome: wrong
# shows: mirrored on their diagonal
# why: inside the window the strides of a row and of a column are exchanged
def im2col(x, k):
    N, H, W, C = x.shape
    n, h, w, c = x.strides
    return np.lib.stride_tricks.as_strided(x, (N, H - k + 1, W - k + 1, k, k, C), (n, h, w, w, h, c))
