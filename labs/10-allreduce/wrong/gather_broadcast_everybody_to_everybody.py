# exercise: gather_broadcast
# outcome: wrong
# shows: more messages than two
# why: every rank sends its array to every other one
def gather_broadcast(comm, x):
    total, incoming = x.copy(), np.empty_like(x)
    others = [rank for rank in range(comm.size) if rank != comm.rank]
    for dest in others:
        comm.Send(x, dest=dest)
    for source in others:
        comm.Recv(incoming, source=source)
        total += incoming
    return total / comm.size
