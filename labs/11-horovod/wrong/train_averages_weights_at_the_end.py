# exercise: train
# outcome: wrong
# shows: averaged once, at the end
# why: trains alone and averages the weights once, after the epoch
def train(images, labels, batch, epoch, seed, rate, *weights):
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed):
        loss, gradients = backward(images[rows], labels[rows], weights)
        weights, velocities = descend(weights, velocities, gradients, rate)
    return average_gradients(*weights)
