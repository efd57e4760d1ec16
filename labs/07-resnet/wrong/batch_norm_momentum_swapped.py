# exercise: batch_norm
# outcome: wrong
# shows: most of the old value should stay
# why: takes nine tenths of the new statistic and one of the old
def batch_norm(x, gamma, beta, mean, variance, training):
    m, v = mean, variance
    if training:
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
        mean = (1 - MOMENTUM) * mean + MOMENTUM * m
        variance = (1 - MOMENTUM) * variance + MOMENTUM * v
    y = gamma * (x - m) / np.sqrt(v + EPSILON) + beta
    return y, mean, variance
