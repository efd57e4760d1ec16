# exercise: residual_block
# outcome: wrong
# shows: The zeros stand in front
# why: the empty channels come before those of x
def residual_block(x, w1, w2, stride):
    y = np.maximum(norm(conv(x, w1, stride)), 0)
    y = norm(conv(y, w2))
    shortcut = x[:, ::stride, ::stride]
    new = y.shape[3] - x.shape[3]
    shortcut = np.pad(shortcut, [(0, 0), (0, 0), (0, 0), (new, 0)])
    return np.maximum(shortcut + y, 0)
