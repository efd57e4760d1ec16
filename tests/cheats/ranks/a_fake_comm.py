# exercise: shift
# outcome: wrong
# shows: On all 2 ranks
# why: a comm of one's own that keeps the messages in its class reaches nobody
class Fake:
    boxes = {}

    def __init__(self, comm):
        self.rank, self.size = comm.rank, comm.size

    def Send(self, x, dest):
        self.boxes[dest] = x.copy()

    def Recv(self, y, source):
        y[:] = self.boxes.get(self.rank, 0)


def shift(comm, x, by):
    comm, y = Fake(comm), np.empty_like(x)
    comm.Send(x, (comm.rank + by) % comm.size)
    comm.Recv(y, (comm.rank - by) % comm.size)
    return y
