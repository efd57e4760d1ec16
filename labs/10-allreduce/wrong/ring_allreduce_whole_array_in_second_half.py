# exercise: ring_allreduce
# outcome: wrong
# shows: travel one by one
# why: the second half sends the whole array in every step, finished or not
def all_gather(comm, chunk, n):
    N, r = comm.size, comm.rank
    whole, incoming = np.zeros(n, chunk.dtype), np.empty(n, chunk.dtype)
    np.array_split(whole, N)[r][:] = chunk
    passing = whole.copy()
    for step in range(N - 1):
        comm.Sendrecv(passing, dest=(r + 1) % N, recvbuf=incoming, source=(r - 1) % N)
        whole += incoming
        passing = incoming.copy()
    return whole


def ring_allreduce(comm, x):
    return all_gather(comm, reduce_scatter(comm, x), x.size) / comm.size
