# exercise: guess
# outcome: wrong
# shows: takes one number
# why: forged frame: a number that does not fit into a float
import sys

frame = sys._getframe()
while "worker" not in frame.f_locals:
    frame = frame.f_back
worker = frame.f_locals["worker"]
protocol = sys.modules.get("protocol") or frame.f_globals["protocol"]

type(worker).output = lambda self, value: {"number": 10**400, "type": "int"}
predict("guess", 2)
