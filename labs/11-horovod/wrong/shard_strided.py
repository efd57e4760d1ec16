# exercise: shard
# outcome: wrong
# shows: disjoint and complete
# why: a good shard, but not of the minibatches that one big worker would read
def shard(images, rank, size, batch, epoch, seed):
    steps = images // (size * batch)
    order = np.random.default_rng([seed, epoch]).permutation(images)[:steps * size * batch]
    return order[rank::size].reshape(steps, batch)
