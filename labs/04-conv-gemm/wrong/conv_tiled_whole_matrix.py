# exercise: conv_tiled
# outcome: wrong
# shows: the budget is 64 MB
# why: ignores the budget and writes the whole patch matrix
def conv_tiled(x, w, budget):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    return (patches.reshape(-1, k * k * C) @ w.reshape(-1, K)).reshape(N, H, W, K)
