# exercise: gradient_mean
# outcome: wrong
# shows: the sum of the workers' gradients
# why: adds the gradients up and forgets that each is a mean already
def gradient_mean(gradients, counts):
    return gradients.sum(axis=0)
