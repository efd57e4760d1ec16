# exercise: count
# outcome: wrong
# shows: on both sides
# why: adds the border once
def count(text, height, channels):
    parameters, macs = [], []
    for layer in layers(text):
        if layer.kind == "dense":
            weights = height * height * channels * layer.width
            height, channels = 1, layer.width
        else:
            height = (height + layer.border - layer.window) // layer.stride + 1
            weights = layer.window ** 2 * channels * layer.width
            channels = layer.width or channels
        parameters.append(weights + layer.width)
        macs.append(weights * height * height)
    return np.array(parameters), np.array(macs)
