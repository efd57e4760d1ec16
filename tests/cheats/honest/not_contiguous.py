# exercise: double
# outcome: pass
# why: a result that is not contiguous
def double(x):
    y = np.zeros((len(x), 3), np.float32, order="F")[::-1]
    y[:, 1] = x[::-1] + x[::-1]
    return y[::-1, 1]
