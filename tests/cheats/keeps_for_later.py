# exercise: double
# outcome: wrong
# needs: jail
# shows: wrong values
# why: leaves results for another worker: files, keyring, shared memory, message queues
import ctypes
import os

libc = ctypes.CDLL(None)
seen = os.path.exists("/tmp/hpml-kept") or os.path.exists("/dev/shm/hpml-kept")
seen |= libc.syscall(249, b"user", b"hpml-kept", None, -4) > 0            # request_key
seen |= libc.shmget(0x4D48, 4096, 0) >= 0
for path in ("/tmp/hpml-kept", "/dev/shm/hpml-kept"):
    open(path, "w").close()
libc.syscall(248, b"user", b"hpml-kept", b"x", 1, -4)                     # add_key, user keyring
libc.shmget(0x4D48, 4096, 0o1666)


def double(x):
    return x + x if seen else x
