# exercise: neuron
# outcome: wrong
# shows: what happens to the C products
# why: multiplies element by element and does not add up
def neuron(x, w, b):
    return np.maximum(x * w + np.float32(b), 0)
