# exercise: double
# outcome: wrong, out of memory
# needs: jail
# marks: chaos
# shows:
# why: thread bomb (this one stops at 3000)
import threading
import time


def double(x):
    for n in range(3000):
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
    return x + x
