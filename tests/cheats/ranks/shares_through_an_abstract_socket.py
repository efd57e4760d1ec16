# exercise: shift
# outcome: wrong
# shows: PermissionError
# why: a socket with a name that is no file is a network that nobody counts
import socket


def shift(comm, x, by):
    mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    mine.bind(f"\0rank-{comm.rank}")
    comm.Barrier()
    mine.sendto(x.tobytes(), f"\0rank-{(comm.rank + by) % comm.size}")
    return np.frombuffer(mine.recv(1 << 20), np.float32).copy()
