# exercise: double
# outcome: wrong
# shows: returned a Lazy; expected a NumPy array
# why: an object that computes when somebody converts it
class Lazy:
    def __init__(self, x):
        self.x, self.shape, self.dtype = x, x.shape, x.dtype

    @property
    def __array_interface__(self):
        self.y = 2 * self.x
        return self.y.__array_interface__

    def __array__(self, *a, **k):
        return 2 * self.x


def double(x):
    return Lazy(x)
