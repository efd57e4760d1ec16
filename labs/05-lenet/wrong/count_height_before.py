# exercise: count
# outcome: wrong
# shows: at the height of the layer's input
# why: multiplies with the places of the input instead of those of the output
def count(text, height, channels):
    parameters, macs = [], []
    for layer in layers(text):
        if layer.kind == "dense":
            weights = height * height * channels * layer.width
            height, channels = 1, layer.width
        else:
            before = height
            height = (height + 2 * layer.border - layer.window) // layer.stride + 1
            weights = layer.window ** 2 * channels * layer.width
            channels = layer.width or channels
        parameters.append(weights + layer.width)
        macs.append(weights * (height if layer.kind == "dense" else before) ** 2)
    return np.array(parameters), np.array(macs)
