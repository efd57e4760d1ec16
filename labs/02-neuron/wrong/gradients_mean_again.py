# exercise: gradients
# outcome: wrong
# shows: The mean is already in dz
# why: divides by the number of pictures a second time
def gradients(x, y, w1, b1, w2, b2):
    h = dense(x, w1, b1)
    loss, dz = cross_entropy(h @ w2 + b2, y)
    dh = (dz @ w2.T) * (h > 0)
    N = len(x)
    return x.T @ dh / N, dh.sum(0) / N, h.T @ dz / N, dz.sum(0) / N
