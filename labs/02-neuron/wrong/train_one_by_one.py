# exercise: train
# outcome: partial
# shows: is right
# why: correct: each picture of a minibatch goes through the network alone
def train(x, y, w1, b1, w2, b2, epochs, rate, batch, seed):
    weights = [w1.copy(), b1.copy(), w2.copy(), b2.copy()]
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch):
            some = order[first:first + batch]
            sums = [np.zeros_like(weight) for weight in weights]
            for n in some:
                for total, gradient in zip(sums, gradients(x[n:n + 1], y[n:n + 1], *weights), strict=True):
                    total += gradient / np.float32(len(some))
            for weight, total in zip(weights, sums, strict=True):
                weight -= np.float32(rate) * total
    return tuple(weights)
