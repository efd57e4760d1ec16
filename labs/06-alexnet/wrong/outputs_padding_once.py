# exercise: outputs
# outcome: wrong
# shows: on both sides of the picture
# why: adds the border once, not on either side
def outputs(layers, size, channels):
    found = []
    for k, kernel, stride, padding, _ in layers:
        size = (size + padding - kernel) // stride + 1 if kernel else 1
        channels = k if k else channels
        found.append((size, size, channels))
    return np.array(found)
