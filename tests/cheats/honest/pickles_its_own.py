# exercise: double
# outcome: pass
# why: pickles and copies objects of its own classes
import copy
import pickle


class Box:
    def __init__(self, factor):
        self.factor = factor


def double(x):
    box = pickle.loads(pickle.dumps(copy.deepcopy(Box(2))))
    return box.factor * x
