# exercise: reduce_scatter
# outcome: wrong
# shows: at each stop
# why: N - 2 steps: the last stop of every chunk is left out
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    chunks = np.array_split(x.copy(), N)
    for step in range(N - 2):
        out, into = (r - step - 1) % N, (r - step - 2) % N
        incoming = np.empty_like(chunks[into])
        comm.Sendrecv(chunks[out], dest=(r + 1) % N, recvbuf=incoming, source=(r - 1) % N)
        chunks[into] += incoming
    return chunks[r]
