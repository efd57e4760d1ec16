# exercise: frugal
# outcome: wrong
# needs: jail
# shows: /proc/self/clear_refs
# why: resets the kernel's own record of its peak memory
import ctypes

ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


def frugal(x):
    y = np.ones((8, len(x)), np.float32) * x
    s = np.array([np.dot(y[0], y[0])], np.float32)
    del y
    with open("/proc/self/clear_refs", "w") as out:
        out.write("5")
    return s
