# exercise: tree_allreduce
# outcome: wrong
# shows: no power of two
# why: partners by flipping one bit of the rank; a partner that does not exist is skipped, and its numbers with it
def tree_allreduce(comm, x):
    total, incoming = x.copy(), np.empty_like(x)
    distance = 1
    while distance < comm.size:
        partner = comm.rank ^ distance
        if partner < comm.size:
            comm.Sendrecv(total, dest=partner, recvbuf=incoming, source=partner)
            total += incoming
        distance *= 2
    return total / comm.size
