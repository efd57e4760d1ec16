# exercise: total
# outcome: wrong
# shows: Operation not permitted
# why: work in a forked process after returning
import mmap
import os


def total(x):
    y = np.frombuffer(mmap.mmap(-1, 4096), np.float32)[:1]
    if os.fork() == 0:
        y[0] = 2 * x.sum()
        os._exit(0)
    return y
