# exercise: conv_gradients
# outcome: wrong
# shows: reverse the kernel's i and j
# why: dx uses the kernel in the direction of the forward pass
def conv_gradients(x, w, dy):
    k, _, C, K = w.shape
    columns = im2col(x, k).reshape(-1, k * k * C)
    dw = (columns.T @ dy.reshape(-1, K)).reshape(w.shape)
    border = (k - 1, k - 1)
    dx = conv_gemm(np.pad(dy, ((0, 0), border, border, (0, 0))), w.transpose(0, 1, 3, 2))
    return dx, dw
