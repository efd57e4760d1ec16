# exercise: shift
# outcome: pass
# why: empty messages, barriers, other types and tags, parts of a buffer, messages to oneself
def shift(comm, x, by):
    size, rank = comm.Get_size(), comm.Get_rank()
    comm.Send(np.empty(0), (rank + 1) % size, tag=3)
    comm.Recv(np.empty(5), (rank - 1) % size, tag=3)
    comm.Barrier()
    told, mine = np.zeros(3, np.complex128), np.array([1j * rank])
    comm.Send(mine, rank, tag=99)
    comm.Recv(told[1:2], rank, tag=99)
    assert told[1] == mine[0] and told[2] == 0
    grid = np.asfortranarray(np.stack([x, x]))
    there = np.empty_like(grid, order="F")
    comm.Sendrecv(grid, (rank + by) % size, recvbuf=there, source=(rank - by) % size)
    comm.Barrier()
    return there[0].copy()
