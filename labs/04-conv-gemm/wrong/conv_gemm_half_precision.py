# exercise: conv_gemm
# outcome: wrong
# shows: half precision
# why: rounds to float16 on the way, which looks like float32 from outside
def conv_gemm(x, w):
    k, _, C, K = w.shape
    patches = im2col(x.astype(np.float16).astype(np.float32), k)
    N, H, W = patches.shape[:3]
    return (patches.reshape(-1, k * k * C) @ w.astype(np.float16).astype(np.float32).reshape(-1, K)).reshape(N, H, W, K)
