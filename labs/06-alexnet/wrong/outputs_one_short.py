# exercise: outputs
# outcome: wrong
# shows: with no room to move, a window still has one place
# why: forgets the + 1
def outputs(layers, size, channels):
    found = []
    for k, kernel, stride, padding, _ in layers:
        size = (size + 2 * padding - kernel) // stride if kernel else 1
        channels = k if k else channels
        found.append((size, size, channels))
    return np.array(found)
