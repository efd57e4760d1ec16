# exercise: gather_broadcast
# outcome: wrong
# shows: has the sum over ranks
# why: hands out the sum
def gather_broadcast(comm, x):
    total, incoming = x.copy(), np.empty_like(x)
    if comm.rank > 0:
        comm.Send(x, dest=0)
        comm.Recv(total, source=0)
        return total
    for source in range(1, comm.size):
        comm.Recv(incoming, source=source)
        total += incoming
    for dest in range(1, comm.size):
        comm.Send(total, dest=dest)
    return total
