# exercise: training_bytes
# outcome: wrong
# shows: Every picture of a minibatch has its own
# why: forgets the batch
def training_bytes(layers, size, channels, batch):
    kept = size * size * channels + outputs(layers, size, channels).prod(1).sum()
    return 4 * np.array([3 * parameters(layers, size, channels).sum(), kept])
