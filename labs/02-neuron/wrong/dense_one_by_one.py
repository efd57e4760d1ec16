# exercise: dense
# outcome: partial
# shows: is right
# why: correct, one picture after the other: as slow as the loop itself
def dense(x, w, b):
    return np.stack([np.maximum(row @ w + b, 0) for row in x])
