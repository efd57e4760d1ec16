# exercise: median_interval
# outcome: wrong
# shows: ends of the samples
# why: the interval that holds 95 % of the samples, where that of the median is asked for
def median_interval(times):
    return np.array([np.median(times), *np.quantile(times, [0.025, 0.975])])
