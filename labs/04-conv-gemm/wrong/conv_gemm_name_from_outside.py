# exercise: conv_gemm
# outcome: wrong
# shows: defined neither in this cell nor in what it builds on
# why: uses a name that is defined in another cell of the notebook only
def conv_gemm(x, w):
    k, _, C, K = kernel_shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    return (patches.reshape(-1, k * k * C) @ w.reshape(-1, K)).reshape(N, H, W, K)
