# exercise: double
# outcome: wrong, crashed, tampered
# needs: jail
# marks: chaos
# shows:
# why: fork bomb (this one stops at 2000)
import os
import time


def double(x):
    for n in range(2000):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    return x + x
