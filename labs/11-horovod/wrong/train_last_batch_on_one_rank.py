# exercise: train
# outcome: timeout
# shows: the same collectives, in the same order
# why: rank 0 also takes the rest, one step more than the others, and waits for them
def train(images, labels, batch, epoch, seed, rate, *weights):
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    mine = list(shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed))
    if hvd.rank() == 0:
        mine.append(np.arange(len(images) % (hvd.size() * batch)))
    for rows in mine:
        loss, gradients = backward(images[rows], labels[rows], weights)
        weights, velocities = descend(weights, velocities, average_gradients(*gradients), rate)
    return tuple(weights)
