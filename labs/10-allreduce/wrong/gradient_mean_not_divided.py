# exercise: gradient_mean
# outcome: wrong
# shows: do not divide by how many there are
# why: multiplies by the counts and stops there
def gradient_mean(gradients, counts):
    return np.tensordot(counts.astype(gradients.dtype), gradients, axes=1)
