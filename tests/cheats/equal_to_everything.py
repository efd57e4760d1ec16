# exercise: double
# outcome: wrong
# shows: returned an Always
# why: an object equal to everything
class Always(float):
    shape, dtype, ndim = (4,), np.dtype("f4"), 1

    def __eq__(self, other):
        return True

    def __le__(self, other):
        return True

    __hash__ = float.__hash__


def double(x):
    return Always(0)
