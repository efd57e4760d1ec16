# exercise: reduce_scatter
# outcome: wrong
# shows: at each stop
# why: receives into the chunk itself, over the numbers that should have been added
def reduce_scatter(comm, x):
    N, r = comm.size, comm.rank
    chunks = np.array_split(x.copy(), N)
    for step in range(N - 1):
        out, into = (r - step - 1) % N, (r - step - 2) % N
        comm.Sendrecv(chunks[out], dest=(r + 1) % N, recvbuf=chunks[into], source=(r - 1) % N)
    return chunks[r]
