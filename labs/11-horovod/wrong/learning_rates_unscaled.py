# exercise: learning_rates
# outcome: wrong
# shows: The rate is that of one worker
# why: the learning rate is not scaled with the number of workers
def learning_rates(base, size, steps, warm):
    return np.full(steps, base)
