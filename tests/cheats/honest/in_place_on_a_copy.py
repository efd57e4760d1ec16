# exercise: double
# outcome: pass
# why: in-place work on a copy
def double(x):
    y = x.copy()
    y *= 2
    return y
