# exercise: im2col
# outcome: wrong
# shows: wrong values
# why: the strides of the channel and of the pixel are exchanged: inside the window the steps are those of NCHW
def im2col(x, k):
    N, H, W, C = x.shape
    return np.lib.stride_tricks.as_strided(x, (N, H - k + 1, W - k + 1, k, k, C),
                                           (*x.strides[:3], x.strides[3] * k, x.strides[3], x.strides[3]))
