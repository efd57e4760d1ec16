# exercise: parameters
# outcome: wrong
# shows: reads every number of the last feature maps
# why: the first dense layer gets one number a channel
def parameters(layers, size, channels):
    before = [(size, size, channels), *outputs(layers, size, channels)[:-1]]
    found = []
    for (k, kernel, _, _, groups), (h, w, c) in zip(layers, before, strict=True):
        found.append(k * ((kernel * kernel * c // groups if kernel else c) + 1))
    return np.array(found)
