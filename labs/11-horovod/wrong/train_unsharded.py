# exercise: train
# outcome: wrong
# shows: All workers read the same pictures
# why: every rank trains on everything
def train(images, labels, batch, epoch, seed, rate, *weights):
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), 0, 1, batch, epoch, seed):
        loss, gradients = backward(images[rows], labels[rows], weights)
        weights, velocities = descend(weights, velocities, average_gradients(*gradients), rate)
    return tuple(weights)
