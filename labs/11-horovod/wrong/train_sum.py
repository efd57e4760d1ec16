# exercise: train
# outcome: wrong
# shows: The gradients are summed, not averaged
# why: takes the mean times the number of workers
def train(images, labels, batch, epoch, seed, rate, *weights):
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed):
        loss, gradients = backward(images[rows], labels[rows], weights)
        total = [g.numpy() for g in hvd.grouped_allreduce(gradients, op=hvd.Sum)]
        weights, velocities = descend(weights, velocities, total, rate)
    return tuple(weights)
