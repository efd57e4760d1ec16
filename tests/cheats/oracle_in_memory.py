# exercise: double
# outcome: wrong
# needs: jail
# shows: wrong values
# why: oracle found in the memory, the environment or the descriptors of other processes
import glob
import os


def double(x):
    for process in glob.glob("/proc/[0-9]*"):
        if int(process[6:]) in (os.getpid(), os.getppid() or -1) and os.getppid() == 0:
            continue
        try:
            with open(process + "/environ", "rb") as text:
                text.read()
            with open(process + "/mem", "rb"):
                return 2 * x
        except OSError:
            continue
    return x
