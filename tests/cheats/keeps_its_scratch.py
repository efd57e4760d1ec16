# exercise: frugal
# outcome: wrong
# shows: the budget is 64 MB
# why: memory that was allocated when the cell was loaded, so that the call itself seems to need none
scratch = np.ones((8, 4_000_000), np.float32)


def frugal(x):
    y = scratch[:, :len(x)]
    np.multiply(x, np.ones((8, 1), np.float32), out=y)
    return np.array([np.dot(y[0], y[0])], np.float32)
