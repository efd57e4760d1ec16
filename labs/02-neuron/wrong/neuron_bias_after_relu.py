# exercise: neuron
# outcome: wrong
# shows: The bias comes too late
# why: adds the bias after the nonlinearity
def neuron(x, w, b):
    return np.maximum(x @ w, 0) + np.float32(b)
