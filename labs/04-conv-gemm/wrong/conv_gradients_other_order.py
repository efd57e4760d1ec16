# exercise: conv_gradients
# outcome: wrong
# shows: returned shape
# why: returns (dw, dx) instead of (dx, dw)
def conv_gradients(x, w, dy):
    k, _, C, K = w.shape
    columns = im2col(x, k).reshape(-1, k * k * C)
    dw = (columns.T @ dy.reshape(-1, K)).reshape(w.shape)
    border = (k - 1, k - 1)
    dx = conv_gemm(np.pad(dy, ((0, 0), border, border, (0, 0))), w[::-1, ::-1].transpose(0, 1, 3, 2))
    return dw, dx
