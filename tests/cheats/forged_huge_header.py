# exercise: double
# outcome: tampered
# shows: out of bounds
# why: forged frame: a header of four gigabytes
import sys

frame = sys._getframe()
while "worker" not in frame.f_locals:
    frame = frame.f_back
worker = frame.f_locals["worker"]
protocol = sys.modules.get("protocol") or frame.f_globals["protocol"]


def double(x):
    worker.sock.sendall(b"HPM1" + (2**32 - 1).to_bytes(4, "little") + bytes(8))
    return x + x
