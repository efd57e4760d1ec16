# exercise: double
# outcome: pass
# why: slow start at import time
import time

time.sleep(0.5)
table = sum(i * i for i in range(200_000))


def double(x):
    return x + x
