# exercise: gradients
# outcome: wrong
# shows: Every picture uses the same bias
# why: averages the bias's shares instead of adding them
def gradients(x, y, w1, b1, w2, b2):
    h = dense(x, w1, b1)
    loss, dz = cross_entropy(h @ w2 + b2, y)
    dh = (dz @ w2.T) * (h > 0)
    return x.T @ dh, dh.sum(0), h.T @ dz, dz.mean(0)
