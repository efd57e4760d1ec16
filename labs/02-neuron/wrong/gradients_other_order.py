# exercise: gradients
# outcome: wrong
# shows: returned shape
# why: second layer first, in the order in which they are found
def gradients(x, y, w1, b1, w2, b2):
    h = dense(x, w1, b1)
    loss, dz = cross_entropy(h @ w2 + b2, y)
    dh = (dz @ w2.T) * (h > 0)
    return h.T @ dz, dz.sum(0), x.T @ dh, dh.sum(0)
