# exercise: total
# outcome: wrong
# shows: Operation not permitted
# why: work in a process that has left the tree (double fork, setsid)
import mmap
import os


def total(x):
    y = np.frombuffer(mmap.mmap(-1, 4096), np.float32)[:1]
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            y[0] = 2 * x.sum()
        os._exit(0)
    os.waitpid(child, 0)
    return y
