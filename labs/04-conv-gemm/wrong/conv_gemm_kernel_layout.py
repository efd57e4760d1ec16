# exercise: conv_gemm
# outcome: wrong
# shows: with the output channel last
# why: the kernel is read as if its output channel were the first axis
def conv_gemm(x, w):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    return (patches.reshape(-1, k * k * C) @ w.reshape(K, -1).T).reshape(N, H, W, K)
