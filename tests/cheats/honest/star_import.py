# exercise: double
# outcome: pass
# why: from numpy import *
from numpy import *


def double(x):
    return add(x, x)
