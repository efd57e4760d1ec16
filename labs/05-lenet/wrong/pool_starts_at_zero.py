# exercise: pool
# outcome: wrong
# shows: Does the maximum begin at 0
# why: compares with an array of zeros, so negative windows give 0
def pool(x, k, s):
    N, H, W, C = x.shape
    rows, columns = (H - k) // s + 1, (W - k) // s + 1
    y = np.zeros((N, rows, columns, C), x.dtype)
    for i in range(k):
        for j in range(k):
            np.maximum(y, x[:, i:i + s * rows:s, j:j + s * columns:s][:, :rows, :columns], out=y)
    return y
