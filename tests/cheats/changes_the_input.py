# exercise: double
# outcome: wrong
# shows: changes its argument
# why: mutated inputs: makes the question fit the answer
def double(x):
    x.setflags(write=True)
    x[:] = 0
    return np.zeros_like(x)
