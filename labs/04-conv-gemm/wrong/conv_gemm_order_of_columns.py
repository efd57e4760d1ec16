# exercise: conv_gemm
# outcome: wrong
# shows: in the same order
# why: rows list c, i, j and the weights i, j, c: the natural mistake with sliding_window_view
def conv_gemm(x, w):
    k, _, C, K = w.shape
    patches = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
    N, H, W = patches.shape[:3]
    return (patches.reshape(-1, C * k * k) @ w.reshape(-1, K)).reshape(N, H, W, K)
