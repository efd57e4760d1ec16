# exercise: double
# outcome: crashed
# shows: ended its process
# why: ends its process between two calls
import os
import threading
import time


def later():
    while time.process_time() < 30:
        if calls:
            os._exit(0)
        time.sleep(0.0005)


calls = []
threading.Thread(target=later, daemon=True).start()


def double(x):
    if len(x) > 4:
        calls.append(x)
        time.sleep(0.1)
    return x + x
