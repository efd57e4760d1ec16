# exercise: cross_entropy
# outcome: wrong
# shows: rounded to 0 before its logarithm
# why: subtracts the largest score, and then takes the logarithm of a probability that is 0
def cross_entropy(z, y):
    N = len(z)
    powers = np.exp(z - z.max(1, keepdims=True))
    p = powers / powers.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(N), y])
    dz = p.copy()
    dz[np.arange(N), y] -= 1
    return loss, dz / N
