# exercise: learning_rates
# outcome: wrong
# shows: begins at zero
# why: the ramp begins at zero
def learning_rates(base, size, steps, warm):
    return base * size * np.minimum(np.arange(steps) / warm, 1)
