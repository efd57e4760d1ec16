# exercise: gradients
# outcome: wrong
# shows: dw2 is right and dw1 is not
# why: sends the gradient through neurons that answered zero
def gradients(x, y, w1, b1, w2, b2):
    h = dense(x, w1, b1)
    loss, dz = cross_entropy(h @ w2 + b2, y)
    dh = dz @ w2.T
    return x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)
