# exercise: train
# outcome: wrong
# shows: Who gives everybody the same start?
# why: every rank begins with weights of its own
def train(images, labels, batch, epoch, seed, rate, *weights):
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed):
        loss, gradients = backward(images[rows], labels[rows], weights)
        weights, velocities = descend(weights, velocities, average_gradients(*gradients), rate)
    return tuple(weights)
