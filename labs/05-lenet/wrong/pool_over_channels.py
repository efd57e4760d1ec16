# exercise: pool
# outcome: wrong
# shows: Each channel is pooled alone
# why: takes the maximum over the channels as well
def pool(x, k, s):
    view = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]
    y = view.max(axis=(3, 4, 5))[..., None]
    return np.repeat(y, x.shape[3], axis=3)
