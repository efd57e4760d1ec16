# exercise: train
# outcome: wrong
# shows: Some steps go without the others
# why: averages in every second step only
def train(images, labels, batch, epoch, seed, rate, *weights):
    weights = same_start(*weights)
    velocities = [np.zeros_like(w) for w in weights]
    for step, rows in enumerate(shard(len(images), hvd.rank(), hvd.size(), batch, epoch, seed)):
        loss, gradients = backward(images[rows], labels[rows], weights)
        if step % 2 == 0:
            gradients = average_gradients(*gradients)
        weights, velocities = descend(weights, velocities, gradients, rate)
    return tuple(weights)
