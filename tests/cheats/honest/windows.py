# exercise: double
# outcome: pass
# why: sliding windows instead of slices
def double(x):
    return np.lib.stride_tricks.sliding_window_view(np.repeat(x, 2), 2)[::2].sum(axis=1)
