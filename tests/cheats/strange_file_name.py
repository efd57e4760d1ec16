# exercise: double
# outcome: pass, wrong
# score: 0, 2
# shows:
# why: maps a file whose name is not text, so that a look at the mappings fails
import mmap
import tempfile

with open(tempfile.mkdtemp().encode() + b"/\xff\xfe(deleted)\n", "w+b") as file:
    file.write(bytes(4096))
    file.flush()
    held = mmap.mmap(file.fileno(), 4096)


def double(x):
    return x + x
