# exercise: batch_norm
# outcome: wrong
# shows: belong to each channel
# why: takes the mean over the pictures only, for each pixel its own
def batch_norm(x, gamma, beta, mean, variance, training):
    m, v = mean, variance
    if training:
        m, v = x.mean(0), x.var(0)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * m.mean((0, 1))
        variance = MOMENTUM * variance + (1 - MOMENTUM) * v.mean((0, 1))
    y = gamma * (x - m) / np.sqrt(v + EPSILON) + beta
    return y, mean, variance
