# exercise: total
# outcome: pass
# why: lru_cache on shapes
from functools import lru_cache, partial, reduce


@lru_cache(maxsize=None)
def weights(n):
    return np.full(n, 2, np.float32)


def total(x):
    return np.dot(x, weights(x.shape[0])).reshape(1)
