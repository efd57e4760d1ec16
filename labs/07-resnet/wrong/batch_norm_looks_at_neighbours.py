# exercise: batch_norm
# outcome: wrong
# shows: which others happen to come with it
# why: normalises with the minibatch at inference, too
def batch_norm(x, gamma, beta, mean, variance, training):
    m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
    y = gamma * (x - m) / np.sqrt(v + EPSILON) + beta
    if training:
        mean = MOMENTUM * mean + (1 - MOMENTUM) * m
        variance = MOMENTUM * variance + (1 - MOMENTUM) * v
    return y, mean, variance
