# exercise: shift
# outcome: wrong
# shows: FileNotFoundError
# why: ranks that map the same shared memory send no messages
# needs: jail
import mmap
import os


def shift(comm, x, by):
    with open(f"/dev/shm/{comm.rank}", "wb") as mine:
        mine.write(x.tobytes())
    comm.Barrier()
    with open(f"/dev/shm/{(comm.rank - by) % comm.size}", "rb") as other:
        return np.frombuffer(other.read(), np.float32).copy()
