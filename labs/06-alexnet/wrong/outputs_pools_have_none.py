# exercise: outputs
# outcome: wrong
# shows: passes on as many channels as come in
# why: takes the 0 of a pooling for the number of its channels
def outputs(layers, size, channels):
    found = []
    for k, kernel, stride, padding, _ in layers:
        size = (size + 2 * padding - kernel) // stride + 1 if kernel else 1
        found.append((size, size, k))
    return np.array(found)
