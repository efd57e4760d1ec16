# exercise: double
# outcome: tampered, timeout, crashed, wrong
# shows:
# why: waits in the kernel for a child (vfork) and cannot be stopped meanwhile
import ctypes

libc = ctypes.CDLL(None)
libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
stack = ctypes.create_string_buffer(1 << 16)


def double(x):
    libc.clone(ctypes.cast(libc.pause, ctypes.c_void_p), ctypes.addressof(stack) + (1 << 15), 0x4000 | 0x100 | 17, None)
    return x
