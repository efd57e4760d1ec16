# exercise: parameters
# outcome: wrong
# shows: A grouped layer still has all of its output channels
# why: divides the output channels by the groups, too
def parameters(layers, size, channels):
    before = [(size, size, channels), *outputs(layers, size, channels)[:-1]]
    found = []
    for (k, kernel, _, _, groups), (h, w, c) in zip(layers, before, strict=True):
        inputs = kernel * kernel * c // groups if kernel else h * w * c
        found.append(k // groups * (inputs + 1))
    return np.array(found)
