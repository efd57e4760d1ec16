# exercise: conv_tiled
# outcome: wrong
# shows: The last tile may be smaller
# why: whole tiles only: the rows that are left over stay zero
def conv_tiled(x, w, budget):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    rows = min(H, budget // (W * k * k * C * x.itemsize))
    y = np.zeros((N, H, W, K), x.dtype)
    for n in range(N):
        for top in range(0, H - rows + 1, rows):
            tile = patches[n, top:top + rows]
            y[n, top:top + rows] = (tile.reshape(-1, k * k * C) @ w.reshape(-1, K)).reshape(len(tile), W, K)
    return y
