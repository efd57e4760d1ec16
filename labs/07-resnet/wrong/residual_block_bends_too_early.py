# exercise: residual_block
# outcome: wrong
# shows: The ReLU comes before the addition
# why: adds the shortcut to what has gone through the last ReLU
def residual_block(x, w1, w2, stride):
    y = np.maximum(norm(conv(x, w1, stride)), 0)
    y = norm(conv(y, w2))
    shortcut = x[:, ::stride, ::stride]
    new = y.shape[3] - x.shape[3]
    shortcut = np.pad(shortcut, [(0, 0), (0, 0), (0, 0), (0, new)])
    return shortcut + np.maximum(y, 0)
