# why: ends its kernel, and with it every process that it can reach
import os
import signal

try:
    os.kill(-1, signal.SIGKILL)
finally:
    os._exit(0)
