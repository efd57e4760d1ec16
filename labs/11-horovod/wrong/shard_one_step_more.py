# exercise: shard
# outcome: wrong
# shows: waits in its allreduce for ever
# why: the rest of the pictures gives the ranks different numbers of steps
def shard(images, rank, size, batch, epoch, seed):
    order = np.random.default_rng([seed, epoch]).permutation(images)
    mine = order[rank::size]
    steps = -(-len(mine) // batch)
    return np.resize(mine, steps * batch).reshape(steps, batch)
