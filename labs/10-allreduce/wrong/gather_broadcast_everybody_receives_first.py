# exercise: gather_broadcast
# outcome: wrong
# shows: wait to receive
# why: every rank waits for a message before it sends its own: a deadlock
def gather_broadcast(comm, x):
    mean = np.empty_like(x)
    if comm.rank > 0:
        comm.Recv(mean, source=0)
        comm.Send(x, dest=0)
        return mean
    total, incoming = x.copy(), np.empty_like(x)
    for source in range(1, comm.size):
        comm.Recv(incoming, source=source)
        total += incoming
    mean = total / comm.size
    for dest in range(1, comm.size):
        comm.Send(mean, dest=dest)
    return mean
