# exercise: train
# outcome: partial
# shows: `train` is right
# why: right, with a message of its own for every array: as slow as the waiting makes it
def train(images, labels, batch, epoch, seed, rate, *weights):
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    for rows in shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed):
        loss, gradients = backward(images[rows], labels[rows], weights)
        mean = [hvd.allreduce(g, name=f"gradient {i}").numpy() for i, g in enumerate(gradients)]
        weights, velocities = descend(weights, velocities, mean, rate)
    return tuple(weights)
