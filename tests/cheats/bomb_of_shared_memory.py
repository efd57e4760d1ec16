# exercise: double
# outcome: wrong, out of memory
# needs: jail
# marks: chaos
# shows:
# why: memory outside of the limit on address space: segments and files without a name (stops at 1 GB)
import ctypes
import os

libc = ctypes.CDLL(None)


def double(x):
    held = 0
    for n in range(16):
        fd = os.memfd_create("x")
        held += os.write(fd, bytes(60 << 20))
    return x + x if held >= 900 << 20 else x
