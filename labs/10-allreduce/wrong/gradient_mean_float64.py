# exercise: gradient_mean
# outcome: wrong
# shows: float64
# why: weights made from 64-bit counts turn the gradient into float64
def gradient_mean(gradients, counts):
    return np.tensordot(counts / counts.sum(), gradients, axes=1)
