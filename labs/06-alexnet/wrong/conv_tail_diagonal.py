# exercise: conv_tail
# outcome: wrong
# shows: Are all of them read
# why: one loop in place of two: reads the diagonal of each window
def conv_tail(y, b):
    H, W = (y.shape[1] - 3) // 2 + 1, (y.shape[2] - 3) // 2 + 1
    p = y[:, 0:2 * H - 1:2, 0:2 * W - 1:2].copy()
    for i in range(3):
        np.maximum(p, y[:, i:i + 2 * H - 1:2, i:i + 2 * W - 1:2], out=p)
    p += b
    return np.maximum(p, 0, out=p)
