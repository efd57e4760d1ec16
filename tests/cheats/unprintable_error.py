# exercise: double
# outcome: crashed, wrong
# shows:
# why: an exception that fails when it is described
class Strange(Exception):
    def __str__(self):
        raise Strange


def double(x):
    raise Strange
