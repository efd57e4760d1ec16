# exercise: parameters
# outcome: wrong
# shows: only those of its own tower
# why: the last column of the table is not read
def parameters(layers, size, channels):
    before = [(size, size, channels), *outputs(layers, size, channels)[:-1]]
    found = []
    for (k, kernel, _, _, groups), (h, w, c) in zip(layers, before, strict=True):
        found.append(k * ((kernel * kernel * c if kernel else h * w * c) + 1))
    return np.array(found)
