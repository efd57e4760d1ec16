# exercise: ring_allreduce
# outcome: wrong
# shows: the first half of the ring
# why: puts the finished chunk back into its own array and returns that
def all_gather(comm, chunk, n):
    return np.concatenate([chunk])


def ring_allreduce(comm, x):
    result = x.copy()
    np.array_split(result, comm.size)[comm.rank][:] = reduce_scatter(comm, x) / comm.size
    return result
