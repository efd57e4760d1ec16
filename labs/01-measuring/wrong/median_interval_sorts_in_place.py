# exercise: median_interval
# outcome: wrong
# shows: changes its argument
# why: sorts the caller's array
def median_interval(times):
    times.sort()
    n, k = len(times), 1
    while 2 * sum(math.comb(n, i) for i in range(k + 1)) <= 0.05 * 2 ** n:
        k += 1
    return np.array([np.median(times), times[k - 1], times[n - k]])
