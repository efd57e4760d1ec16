# exercise: neuron
# outcome: wrong
# shows: expected a NumPy array
# why: sums over everything
def neuron(x, w, b):
    return np.maximum((x * w).sum() + np.float32(b), 0)
