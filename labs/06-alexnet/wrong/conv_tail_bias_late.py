# exercise: conv_tail
# outcome: wrong
# shows: The bias comes behind the bend
# why: moves the bias behind the ReLU, too
def conv_tail(y, b):
    H, W = (y.shape[1] - 3) // 2 + 1, (y.shape[2] - 3) // 2 + 1
    p = y[:, 0:2 * H - 1:2, 0:2 * W - 1:2].copy()
    for i in range(3):
        for j in range(3):
            np.maximum(p, y[:, i:i + 2 * H - 1:2, j:j + 2 * W - 1:2], out=p)
    return np.maximum(p, 0) + b
