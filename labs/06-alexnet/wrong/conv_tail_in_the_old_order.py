# exercise: conv_tail
# outcome: partial
# shows: `conv_tail` is right
# why: the three steps as they are given: right, and as slow as they are
def conv_tail(y, b):
    z = y + b
    z = np.maximum(z, 0)
    windows = np.lib.stride_tricks.sliding_window_view(z, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return windows.max((-2, -1))
