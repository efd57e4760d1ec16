# exercise: tree_allreduce
# outcome: wrong
# shows: more rounds than a tree is high
# why: a chain: each rank waits for the one above it, adds, and passes on
def tree_allreduce(comm, x):
    N, r = comm.size, comm.rank
    total, incoming = x.copy(), np.empty_like(x)
    if r + 1 < N:
        comm.Recv(incoming, source=r + 1)
        total += incoming
    if r > 0:
        comm.Send(total, dest=r - 1)
        comm.Recv(total, source=r - 1)
    if r + 1 < N:
        comm.Send(total, dest=r + 1)
    return total / N
