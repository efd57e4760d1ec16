# exercise: dense
# outcome: wrong
# shows: before the nonlinearity
# why: a linear layer
def dense(x, w, b):
    return x @ w + b
