# exercise: receptive_field
# outcome: wrong
# shows: those of each layer alone
# why: the sizes are right, the steps are the strides as they were given
def receptive_field(kernels, strides):
    before = np.concatenate([[1], np.cumprod(strides)[:-1]])
    return 1 + np.cumsum((kernels - 1) * before), strides.copy()
