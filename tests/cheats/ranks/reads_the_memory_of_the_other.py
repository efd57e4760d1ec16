# exercise: mean
# outcome: wrong
# shows: rank 1
# why: one rank reads the other's array from its memory, in place of an allreduce
# needs: jail
import os
import re


def others():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid():
            yield pid


def mean(x):
    import horovod.tensorflow as hvd
    if hvd.rank() == 0:
        return hvd.allreduce(x, op=hvd.Average).numpy()
    for pid in others():
        with open(f"/proc/{pid}/mem", "rb") as memory:
            for row in open(f"/proc/{pid}/maps"):
                low, high = (int(n, 16) for n in re.match(r"(\w+)-(\w+)", row).groups())
                memory.seek(low)
                if len(memory.read(high - low)) == x.nbytes:
                    return x
    raise LookupError("nobody is here on rank 1")
