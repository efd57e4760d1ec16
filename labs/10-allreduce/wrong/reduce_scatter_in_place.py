# exercise: reduce_scatter
# outcome: wrong
# shows: argument
# why: the chunks are views, so adding into them writes into the caller's array
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    chunks = np.array_split(x, N)
    for step in range(N - 1):
        out, into = (r - step - 1) % N, (r - step - 2) % N
        incoming = np.empty_like(chunks[into])
        comm.Sendrecv(chunks[out], dest=(r + 1) % N, recvbuf=incoming, source=(r - 1) % N)
        chunks[into] += incoming
    return chunks[r]
