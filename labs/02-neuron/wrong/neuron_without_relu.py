# exercise: neuron
# outcome: wrong
# shows: before the nonlinearity
# why: the weighted sum only: the ReLU is forgotten
def neuron(x, w, b):
    return x @ w + np.float32(b)
