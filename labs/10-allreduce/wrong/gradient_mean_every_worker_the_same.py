# exercise: gradient_mean
# outcome: wrong
# shows: image has the same say
# why: the plain mean over workers, which is right for equal parts only
def gradient_mean(gradients, counts):
    return gradients.mean(axis=0)
