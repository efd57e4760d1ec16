# exercise: gather_broadcast
# outcome: wrong
# shows: it is alone with it
# why: collects on rank 0 and stops there
def gather_broadcast(comm, x):
    if comm.rank > 0:
        comm.Send(x, dest=0)
        return x
    total, incoming = x.copy(), np.empty_like(x)
    for source in range(1, comm.size):
        comm.Recv(incoming, source=source)
        total += incoming
    return total / comm.size
