# exercise: reduce_scatter
# outcome: wrong
# shows: instead of all at once
# why: rank 0 sends first and every other rank receives first: no deadlock, and no two messages at the same time
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    chunks = np.array_split(x.copy(), N)
    for step in range(N - 1):
        out, into = (r - step - 1) % N, (r - step - 2) % N
        incoming = np.empty_like(chunks[into])
        if r == 0:
            comm.Send(chunks[out], dest=(r + 1) % N)
            comm.Recv(incoming, source=(r - 1) % N)
        else:
            comm.Recv(incoming, source=(r - 1) % N)
            comm.Send(chunks[out], dest=(r + 1) % N)
        chunks[into] += incoming
    return chunks[r]
