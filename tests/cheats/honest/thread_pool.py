# exercise: frugal
# outcome: pass
# why: a pool of threads that lives on between calls
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(2)


def frugal(x):
    return np.array([sum(pool.map(lambda b: np.dot(b, b), np.array_split(x, 100)))], np.float32)
