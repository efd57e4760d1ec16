# exercise: receptive_field
# outcome: wrong
# shows: counted twice in every layer
# why: adds k instead of k - 1
def receptive_field(kernels, strides):
    size, step, sizes, steps = 1, 1, [], []
    for k, s in zip(kernels, strides, strict=True):
        size += k * step
        step *= s
        sizes.append(size)
        steps.append(step)
    return np.array(sizes), np.array(steps)
