# exercise: double
# outcome: tampered
# shows: 
# why: forged frame: a header nested a hundred thousand times
import sys

frame = sys._getframe()
while "worker" not in frame.f_locals:
    frame = frame.f_back
worker = frame.f_locals["worker"]
protocol = sys.modules.get("protocol") or frame.f_globals["protocol"]


def double(x):
    text = b"{\"a\":" + b"[" * 100_000 + b"]" * 100_000 + b"}"
    worker.sock.sendall(protocol.PREFIX.pack(protocol.MAGIC, len(text), 0) + text)
    return x + x
