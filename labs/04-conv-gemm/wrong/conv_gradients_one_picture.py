# exercise: conv_gradients
# outcome: wrong
# shows: one picture only
# why: the loop over pictures overwrites dw instead of adding to it
def conv_gradients(x, w, dy):
    k, _, C, K = w.shape
    for n in range(len(x)):
        columns = im2col(x[n:n + 1], k).reshape(-1, k * k * C)
        dw = (columns.T @ dy[n].reshape(-1, K)).reshape(w.shape)
    border = (k - 1, k - 1)
    dx = conv_gemm(np.pad(dy, ((0, 0), border, border, (0, 0))), w[::-1, ::-1].transpose(0, 1, 3, 2))
    return dx, dw
