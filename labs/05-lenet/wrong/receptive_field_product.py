# exercise: receptive_field
# outcome: wrong
# shows: Windows do not multiply
# why: takes the product of the windows
def receptive_field(kernels, strides):
    return np.cumprod(kernels), np.cumprod(strides)
