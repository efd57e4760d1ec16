# exercise: conv_tail
# outcome: wrong
# shows: so they overlap
# why: windows of 2×2, the usual pooling of later networks
def conv_tail(y, b):
    H, W = y.shape[1] // 2 * 2, y.shape[2] // 2 * 2
    y = y[:, :H, :W].reshape(len(y), H // 2, 2, W // 2, 2, -1)
    return np.maximum(y.max((2, 4)) + b, 0)
