# exercise: count
# outcome: wrong
# shows: Your parameters are the weights alone
# why: forgets the biases
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
        parameters.append(weights)
        macs.append(weights * height * height)
    return np.array(parameters), np.array(macs)
