# exercise: batch_norm
# outcome: wrong
# shows: the moving statistics stand still
# why: forgets to update the moving statistics
def batch_norm(x, gamma, beta, mean, variance, training):
    m, v = mean, variance
    if training:
        m, v = x.mean((0, 1, 2)), x.var((0, 1, 2))
    y = gamma * (x - m) / np.sqrt(v + EPSILON) + beta
    return y, mean, variance
