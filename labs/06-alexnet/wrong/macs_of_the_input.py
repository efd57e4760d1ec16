# exercise: macs
# outcome: wrong
# shows: that is the size of what comes out
# why: multiplies by the pixels that come in, where the places of the window are what comes out
def macs(layers, size, channels):
    weights = parameters(layers, size, channels) - layers[:, 0]
    before = np.array([(size, size, channels), *outputs(layers, size, channels)[:-1]])
    return np.where(layers[:, 1] > 0, weights * before[:, 0] * before[:, 1], weights)
