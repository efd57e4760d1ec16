# exercise: conv_gemm
# outcome: partial
# shows: `conv_gemm` is right
# why: the loops themselves: correct, and as slow as they are
def conv_gemm(x, w):
    (N, H, W, C), (k, _, _, K) = x.shape, w.shape
    y = np.zeros((N, H - k + 1, W - k + 1, K), np.float32)
    for n in range(N):
        for r in range(H - k + 1):
            for s in range(W - k + 1):
                for i in range(k):
                    for j in range(k):
                        for c in range(C):
                            y[n, r, s] += x[n, r + i, s + j, c] * w[i, j, c]
    return y
