# exercise: receptive_field
# outcome: wrong
# shows: moves its next output
# why: multiplies with the step after the layer's own stride
def receptive_field(kernels, strides):
    steps = np.cumprod(strides)
    return 1 + np.cumsum((kernels - 1) * steps), steps
