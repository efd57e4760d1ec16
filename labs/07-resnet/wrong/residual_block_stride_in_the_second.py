# exercise: residual_block
# outcome: wrong
# shows: The picture shrinks in the second convolution
# why: the second convolution has the stride
def residual_block(x, w1, w2, stride):
    y = np.maximum(norm(conv(x, w1)), 0)
    y = norm(conv(y, w2, stride))
    shortcut = x[:, ::stride, ::stride]
    new = y.shape[3] - x.shape[3]
    shortcut = np.pad(shortcut, [(0, 0), (0, 0), (0, 0), (0, new)])
    return np.maximum(shortcut + y, 0)
