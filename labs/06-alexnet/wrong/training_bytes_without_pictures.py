# exercise: training_bytes
# outcome: wrong
# shows: the first layer needs them on the way back
# why: the outputs of the layers without the pictures themselves
def training_bytes(layers, size, channels, batch):
    return 4 * np.array([3 * parameters(layers, size, channels).sum(), batch * outputs(layers, size, channels).prod(1).sum()])
