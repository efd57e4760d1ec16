# exercise: tree_allreduce
# outcome: wrong
# shows: apart from rank 0
# why: up the tree, and then rank 0 sends the result to everybody itself
def tree_allreduce(comm, x):
    N, r = comm.size, comm.rank
    total, incoming = x.copy(), np.empty_like(x)
    distance = 1
    while distance < N:
        if r % (2 * distance):
            comm.Send(total, dest=r - distance)
            break
        if r + distance < N:
            comm.Recv(incoming, source=r + distance)
            total += incoming
        distance *= 2
    if r > 0:
        comm.Recv(total, source=0)
    else:
        for dest in range(1, N):
            comm.Send(total, dest=dest)
    return total / N
