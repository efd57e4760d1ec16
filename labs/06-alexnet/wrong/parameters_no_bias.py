# exercise: parameters
# outcome: wrong
# shows: The biases are missing
# why: weights without biases
def parameters(layers, size, channels):
    before = [(size, size, channels), *outputs(layers, size, channels)[:-1]]
    found = []
    for (k, kernel, _, _, groups), (h, w, c) in zip(layers, before, strict=True):
        found.append(k * (kernel * kernel * c // groups if kernel else h * w * c))
    return np.array(found)
