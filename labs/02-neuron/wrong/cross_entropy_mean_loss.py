# exercise: cross_entropy
# outcome: wrong
# shows: expected (4,)
# why: returns the mean loss, where one for each picture is asked for
def cross_entropy(z, y):
    N = len(z)
    z = z - z.max(1, keepdims=True)
    powers = np.exp(z)
    sums = powers.sum(1, keepdims=True)
    loss = np.log(sums[:, 0]) - z[np.arange(N), y]
    dz = powers / sums
    dz[np.arange(N), y] -= 1
    return np.array(loss.mean()), dz / N
