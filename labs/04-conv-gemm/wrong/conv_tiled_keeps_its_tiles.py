# exercise: conv_tiled
# outcome: wrong
# shows: the budget is 64 MB
# why: makes one tile after another and keeps the patches of all of them in a list
def conv_tiled(x, w, budget):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    tiles = [patches[n].reshape(-1, k * k * C) for n in range(N)]
    return np.concatenate([tile @ w.reshape(-1, K) for tile in tiles]).reshape(N, H, W, K)
