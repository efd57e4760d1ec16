# exercise: double
# outcome: timeout
# shows: did not finish
# marks: slow
# why: swallows the answer: the referee must not wait for ever
import sys

frame = sys._getframe()
while "worker" not in frame.f_locals:
    frame = frame.f_back
worker = frame.f_locals["worker"]
protocol = sys.modules.get("protocol") or frame.f_globals["protocol"]

protocol.send = lambda *a: None


def double(x):
    return x + x
