# exercise: training_bytes
# outcome: wrong
# shows: What else does training keep for each of them
# why: the weights alone, as for using the network
def training_bytes(layers, size, channels, batch):
    kept = size * size * channels + outputs(layers, size, channels).prod(1).sum()
    return 4 * np.array([parameters(layers, size, channels).sum(), batch * kept])
