# exercise: receptive_field
# outcome: wrong
# shows: The strides do not widen
# why: adds up k - 1 and leaves the strides out
def receptive_field(kernels, strides):
    return 1 + np.cumsum(kernels - 1), np.cumprod(strides)
