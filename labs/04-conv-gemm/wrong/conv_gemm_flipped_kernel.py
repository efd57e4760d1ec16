# exercise: conv_gemm
# outcome: wrong
# shows: You flip the kernel
# why: the mathematicians' convolution; frameworks compute the cross-correlation
def conv_gemm(x, w):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    return (patches.reshape(-1, k * k * C) @ w[::-1, ::-1].reshape(-1, K)).reshape(N, H, W, K)
