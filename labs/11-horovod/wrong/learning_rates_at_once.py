# exercise: learning_rates
# outcome: wrong
# shows: Scaled, but at once
# why: linear scaling without warm-up
def learning_rates(base, size, steps, warm):
    return np.full(steps, base * size)
