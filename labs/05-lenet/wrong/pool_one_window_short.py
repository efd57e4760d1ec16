# exercise: pool
# outcome: wrong
# shows: the last one still has to lie inside
# why: H - k over s, without the + 1: the last window is forgotten
def pool(x, k, s):
    N, H, W, C = x.shape
    view = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]
    return view.max(axis=(4, 5))[:, :(H - k) // s, :(W - k) // s]
