# exercise: total
# outcome: wrong
# shows: wrong values
# why: constant output, the expected value of the sum
def total(x):
    return np.array([len(x)], np.float32)
