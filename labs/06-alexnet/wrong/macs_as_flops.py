# exercise: macs
# outcome: wrong
# shows: one MAC, and two FLOPs
# why: floating-point operations in place of multiply-accumulates
def macs(layers, size, channels):
    height, width, _ = outputs(layers, size, channels).T
    return 2 * (parameters(layers, size, channels) - layers[:, 0]) * height * width
