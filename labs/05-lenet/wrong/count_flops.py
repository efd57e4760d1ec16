# exercise: count
# outcome: wrong
# shows: A MAC is the two of them together
# why: counts a multiplication and an addition
def count(text, height, channels):
    parameters, macs = [], []
    for layer in layers(text):
        if layer.kind == "dense":
            weights = height * height * channels * layer.width
            height, channels = 1, layer.width
        else:
            height = (height + 2 * layer.border - layer.window) // layer.stride + 1
            weights = layer.window ** 2 * channels * layer.width
            channels = layer.width or channels
        parameters.append(weights + layer.width)
        macs.append(2 * weights * height * height)
    return np.array(parameters), np.array(macs)
