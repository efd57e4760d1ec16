# exercise: frugal
# outcome: wrong
# shows: the budget is 64 MB
# marks: slow
# why: memory that is freed, after which pages of large files are mapped, which do not count
import mmap
import os

files = []
for place in (os.path.dirname(os.path.dirname(np.__file__)), "/usr/lib/x86_64-linux-gnu", "/usr/bin"):
    for folder, _, names in os.walk(place):
        for path in (os.path.join(folder, name) for name in names if "/tensorflow" not in folder):
            if not os.path.islink(path) and os.access(path, os.R_OK) and os.path.getsize(path) > 2 << 20:
                files.append((os.path.getsize(path), path))
files.sort(reverse=True)


def hide(wanted):
    """Mappings of which `wanted` bytes are resident."""
    held = []
    for size, path in files:
        with open(path, "rb") as file:
            held.append(mmap.mmap(file.fileno(), min(size, wanted), access=mmap.ACCESS_READ))
        np.frombuffer(held[-1], np.uint8)[::4096].sum()
        wanted -= min(size, wanted)
        if not wanted:
            break
    return held


def frugal(x):
    global held
    y = np.ones((8, len(x)), np.float32) * x
    s = np.array([np.dot(y[0], y[0])], np.float32)
    size = 2 * y.nbytes
    del y
    held = hide(size)
    return s
