# why: as many processes as it can get
import os
import time

for _ in range(5000):
    try:
        if os.fork() == 0:
            time.sleep(3600)
    except OSError:
        break
