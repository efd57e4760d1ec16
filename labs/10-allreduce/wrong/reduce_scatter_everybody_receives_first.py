# exercise: reduce_scatter
# outcome: wrong
# shows: wait to receive
# why: everybody receives before it sends: a deadlock
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    chunks = np.array_split(x.copy(), N)
    for step in range(N - 1):
        out, into = (r - step - 1) % N, (r - step - 2) % N
        incoming = np.empty_like(chunks[into])
        comm.Recv(incoming, source=(r - 1) % N)
        comm.Send(chunks[out], dest=(r + 1) % N)
        chunks[into] += incoming
    return chunks[r]
