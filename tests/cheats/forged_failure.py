# exercise: double
# outcome: wrong, malformed, not attempted
# shows: 
# why: forged failure, with values of the wrong kind everywhere
import sys

frame = sys._getframe()
while "worker" not in frame.f_locals:
    frame = frame.f_back
worker = frame.f_locals["worker"]
protocol = sys.modules.get("protocol") or frame.f_globals["protocol"]

type(worker).run = lambda self: {"failed": {"type": ["x"], "message": {"a": 1}, "cell": 7, "line": 10**30, "text": None, "name": [1]}}


def double(x):
    return x
