# exercise: pool
# outcome: wrong
# shows: These are the means
# why: LeNet's own pooling of 1998: means instead of maxima
def pool(x, k, s):
    view = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]
    return view.mean(axis=(4, 5), dtype=np.float32)
