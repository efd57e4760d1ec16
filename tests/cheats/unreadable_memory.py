# exercise: double
# outcome: wrong
# shows: First difference
# why: tries to keep the referee from reading its memory (PR_SET_DUMPABLE)
import ctypes

ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


def double(x):
    return 3 * x + 1
