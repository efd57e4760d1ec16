# exercise: shard
# outcome: wrong
# shows: N workers do the work of one, N times
# why: unsharded: every rank reads every picture
def shard(images, rank, size, batch, epoch, seed):
    steps = images // batch
    order = np.random.default_rng([seed, epoch]).permutation(images)
    return order[:steps * batch].reshape(steps, batch)
