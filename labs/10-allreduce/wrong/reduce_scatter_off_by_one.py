# exercise: reduce_scatter
# outcome: wrong
# shows: off by a constant
# why: begins with its own chunk, so that the chunk that is finished here is the next rank's
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    chunks = np.array_split(x.copy(), N)
    for step in range(N - 1):
        out, into = (r - step) % N, (r - step - 1) % N
        incoming = np.empty_like(chunks[into])
        comm.Sendrecv(chunks[out], dest=(r + 1) % N, recvbuf=incoming, source=(r - 1) % N)
        chunks[into] += incoming
    return chunks[(r + 1) % N]
