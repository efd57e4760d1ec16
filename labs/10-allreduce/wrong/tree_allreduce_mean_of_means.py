# exercise: tree_allreduce
# outcome: wrong
# shows: A mean of means
# why: halves in every round, which is the mean for a power of two only
def tree_allreduce(comm, x):
    N, r = comm.size, comm.rank
    mean, incoming = x.copy(), np.empty_like(x)
    distance = 1
    while distance < N:
        if r % (2 * distance):
            comm.Send(mean, dest=r - distance)
            comm.Recv(mean, source=r - distance)
            break
        if r + distance < N:
            comm.Recv(incoming, source=r + distance)
            mean = (mean + incoming) / 2
        distance *= 2
    while distance > 1:
        distance //= 2
        if r + distance < N:
            comm.Send(mean, dest=r + distance)
    return mean
