# exercise: cross_entropy
# outcome: wrong
# shows: too large by the number of pictures
# why: the gradient of the sum of the losses instead of their mean
def cross_entropy(z, y):
    N = len(z)
    z = z - z.max(1, keepdims=True)
    powers = np.exp(z)
    sums = powers.sum(1, keepdims=True)
    loss = np.log(sums[:, 0]) - z[np.arange(N), y]
    dz = powers / sums
    dz[np.arange(N), y] -= 1
    return loss, dz
