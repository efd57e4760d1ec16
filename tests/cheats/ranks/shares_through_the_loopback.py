# exercise: shift
# outcome: wrong
# shows: raised OSError
# why: a simulated rank has no network but its comm
# needs: jail
import socket


def shift(comm, x, by):
    mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mine.bind(("127.0.0.1", 20000 + comm.rank))
    comm.Barrier()
    mine.sendto(x.tobytes(), ("127.0.0.1", 20000 + (comm.rank + by) % comm.size))
    comm.Barrier()
    return np.frombuffer(mine.recv(1 << 20), np.float32).copy()
