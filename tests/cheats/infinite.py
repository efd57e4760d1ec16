# exercise: double
# outcome: wrong
# shows: wrong values
# why: infinity, so that a tolerance relative to the result is infinite
def double(x):
    return np.full_like(x, np.inf)
