# exercise: double
# outcome: wrong, tampered, crashed, timeout
# shows:
# why: the main thread ends and another one goes on, so that the process looks dead
import ctypes
import threading
import time

libc = ctypes.CDLL(None)


def double(x):
    threading.Thread(target=time.sleep, args=(30,)).start()
    libc.syscall(60, 0)
    return x + x
