# exercise: gather_broadcast
# outcome: wrong
# shows: the same buffer
# why: keeps all that arrives in a list, whose entries are one and the same buffer
def gather_broadcast(comm, x):
    mean, arrived = np.empty_like(x), [x]
    if comm.rank > 0:
        comm.Send(x, dest=0)
        comm.Recv(mean, source=0)
        return mean
    incoming = np.empty_like(x)
    for source in range(1, comm.size):
        comm.Recv(incoming, source=source)
        arrived.append(incoming)
    mean = np.mean(arrived, axis=0)
    for dest in range(1, comm.size):
        comm.Send(mean, dest=dest)
    return mean
