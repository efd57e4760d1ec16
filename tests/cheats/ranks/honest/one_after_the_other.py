# exercise: shift
# outcome: pass
# why: ranks that take turns, in an order of their own; much printing
class Post:
    def __init__(self, comm):
        self.comm = comm

    def pass_on(self, x, by):
        y = np.empty_like(x)
        for turn in reversed(range(self.comm.size)):
            to = (turn + by) % self.comm.size
            if self.comm.rank == turn:
                self.comm.Send(x, to, tag=turn)
            if self.comm.rank == to:
                self.comm.Recv(y, turn, tag=turn)
            print("turn", turn, "on rank", self.comm.rank)
            self.comm.Barrier()
        return y


def shift(comm, x, by):
    return Post(comm).pass_on(x, by)
