# exercise: double
# outcome: wrong
# needs: jail
# shows: wrong values
# why: traces another process, or writes into its memory
import ctypes
import os

libc = ctypes.CDLL(None)


def double(x):
    reached = 0
    for pid in range(2, 3000):
        reached += libc.ptrace(16, pid, None, None) == 0
        try:
            with open(f"/proc/{pid}/mem", "r+b"):
                reached += 1
        except OSError:
            continue
    return x + x if reached else x
