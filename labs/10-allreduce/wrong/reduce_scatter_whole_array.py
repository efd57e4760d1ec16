# exercise: reduce_scatter
# outcome: wrong
# shows: not the whole array
# why: the whole array goes around the ring, and each rank keeps its chunk of the sum
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    total, passing, incoming = x.copy(), x.copy(), np.empty_like(x)
    for step in range(N - 1):
        comm.Sendrecv(passing, dest=(r + 1) % N, recvbuf=incoming, source=(r - 1) % N)
        total += incoming
        passing = incoming.copy()
    return np.array_split(total, N)[r]
