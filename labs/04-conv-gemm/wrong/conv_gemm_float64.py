# exercise: conv_gemm
# outcome: wrong
# shows: float64
# why: a float64 array in the middle turns the whole product into float64
def conv_gemm(x, w):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    columns = np.zeros((N * H * W, k * k * C))
    columns[:] = patches.reshape(-1, k * k * C)
    return (columns @ w.reshape(-1, K)).reshape(N, H, W, K)
