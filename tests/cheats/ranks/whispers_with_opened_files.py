# exercise: shift
# outcome: wrong
# shows: PermissionError
# why: who watches a folder of the system sees which files another rank opens
import ctypes
import os


def shift(comm, x, by):
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init()
    if watch < 0:
        raise PermissionError("no watching here")
    libc.inotify_add_watch(watch, b"/usr/bin", 0x20)
    comm.Barrier()
    for name in sorted(os.listdir("/usr/bin"))[:int(x[0] * 100)]:
        if os.access(f"/usr/bin/{name}", os.R_OK):
            os.close(os.open(f"/usr/bin/{name}", os.O_RDONLY))
    comm.Barrier()
    return np.full_like(x, len(os.read(watch, 1 << 16)) / 100)
