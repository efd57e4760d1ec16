# exercise: median_interval
# outcome: wrong
# shows: The first number is the mean
# why: mean and 1.96 standard errors, as for a bell curve
def median_interval(times):
    half = 1.96 * times.std(ddof=1) / np.sqrt(len(times))
    return np.array([times.mean(), times.mean() - half, times.mean() + half])
