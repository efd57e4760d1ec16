# exercise: batch_norm
# outcome: wrong
# shows: You divide by the variance
# why: divides by the variance and not by its root
def batch_norm(x, gamma, beta, mean, variance, training):
    m, v = mean, variance
    if training:
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
        mean = MOMENTUM * mean + (1 - MOMENTUM) * m
        variance = MOMENTUM * variance + (1 - MOMENTUM) * v
    y = gamma * (x - m) / (v + EPSILON) + beta
    return y, mean, variance
