# exercise: ring_allreduce
# outcome: wrong
# shows: has the sum over ranks
# why: nobody divides
def all_gather(comm, chunk, n):
    N, r = comm.size, comm.rank
    whole = np.empty(n, chunk.dtype)
    places = np.array_split(whole, N)
    places[r][:] = chunk
    for step in range(N - 1):
        out, into = (r - step) % N, (r - step - 1) % N
        comm.Sendrecv(places[out], dest=(r + 1) % N, recvbuf=places[into], source=(r - 1) % N)
    return whole


def ring_allreduce(comm, x):
    return all_gather(comm, reduce_scatter(comm, x), x.size)
