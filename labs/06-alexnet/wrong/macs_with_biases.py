# exercise: macs
# outcome: wrong
# shows: a bias is added and not multiplied
# why: counts the biases as multiplications
def macs(layers, size, channels):
    height, width, _ = outputs(layers, size, channels).T
    return parameters(layers, size, channels) * height * width
