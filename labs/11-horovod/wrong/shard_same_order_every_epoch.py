# exercise: shard
# outcome: wrong
# shows: the same order in every epoch
# why: the epoch is not in the seed
def shard(images, rank, size, batch, epoch, seed):
    steps = images // (size * batch)
    order = np.random.default_rng(seed).permutation(images)
    return order[:steps * size * batch].reshape(steps, size, batch)[:, rank]
