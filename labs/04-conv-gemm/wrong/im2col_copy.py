# exercise: im2col
# outcome: wrong
# shows: copy
# why: the right numbers, gathered one window at a time into new memory
def im2col(x, k):
    N, H, W, C = x.shape
    patches = np.empty((N, H - k + 1, W - k + 1, k, k, C), x.dtype)
    for i in range(k):
        for j in range(k):
            patches[:, :, :, i, j] = x[:, i:i + H - k + 1, j:j + W - k + 1]
    return patches
