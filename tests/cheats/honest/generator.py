# exercise: total
# outcome: pass
# why: generators
def blocks(x, size=8192):
    for start in range(0, len(x), size):
        yield x[start:start + size]


def total(x):
    return np.array([sum(double(b).sum() for b in blocks(x))], np.float32)
