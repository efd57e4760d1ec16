# exercise: train
# outcome: wrong
# shows: one for each minibatch
# why: one update an epoch, from all pictures at once
def train(x, y, w1, b1, w2, b2, epochs, rate, batch, seed):
    weights = [w1.copy(), b1.copy(), w2.copy(), b2.copy()]
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), len(x)):
            some = order[first:first + len(x)]
            for weight, gradient in zip(weights, gradients(x[some], y[some], *weights), strict=True):
                weight -= np.float32(rate) * gradient
    return tuple(weights)
