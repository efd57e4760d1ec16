# exercise: shard
# outcome: wrong
# shows: one common order
# why: each rank shuffles with a seed of its own, so shards overlap
def shard(images, rank, size, batch, epoch, seed):
    steps = images // (size * batch)
    order = np.random.default_rng([seed, epoch, rank]).permutation(images)
    return order[:steps * size * batch].reshape(steps, size, batch)[:, rank]
