# exercise: train
# outcome: wrong
# shows: against the gradient
# why: adds the gradient instead of subtracting it
def train(x, y, w1, b1, w2, b2, epochs, rate, batch, seed):
    weights = [w1.copy(), b1.copy(), w2.copy(), b2.copy()]
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch):
            some = order[first:first + batch]
            for weight, gradient in zip(weights, gradients(x[some], y[some], *weights), strict=True):
                weight += np.float32(rate) * gradient
    return tuple(weights)
