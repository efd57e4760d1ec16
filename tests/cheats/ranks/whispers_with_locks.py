# exercise: shift
# outcome: wrong
# shows: PermissionError
# why: locks on a system file say where and how long they are, to everyone who can open it
import fcntl
import struct

LOCK = "hhqqi4x"


def shift(comm, x, by):
    with open("/usr/bin/env", "rb") as shared:
        for i, bits in enumerate(x.view(np.uint32)):
            place = (comm.rank * 1000 + i) << 33
            fcntl.fcntl(shared, fcntl.F_SETLK, struct.pack(LOCK, fcntl.F_RDLCK, 0, place, int(bits) + 1, 0))
        comm.Barrier()
        y = np.empty_like(x)
        for i in range(len(x)):
            place = ((comm.rank - by) % comm.size * 1000 + i) << 33
            asked = fcntl.fcntl(shared, fcntl.F_GETLK, struct.pack(LOCK, fcntl.F_WRLCK, 0, place, 0, 0))
            y.view(np.uint32)[i] = struct.unpack(LOCK, asked)[3] - 1
        comm.Barrier()
    return y
