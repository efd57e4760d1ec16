# exercise: cross_entropy
# outcome: wrong
# shows: larger than any float32
# why: the formula as it stands: the exponential of 200 overflows
def cross_entropy(z, y):
    N = len(z)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(N), y])
    dz = p.copy()
    dz[np.arange(N), y] -= 1
    return loss, dz / N
