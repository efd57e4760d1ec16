# exercise: median_interval
# outcome: wrong
# shows: not in order
# why: forgets to sort before it takes ranks
def median_interval(times):
    n, k = len(times), 1
    while 2 * sum(math.comb(n, i) for i in range(k + 1)) <= 0.05 * 2 ** n:
        k += 1
    return np.array([np.median(times), times[k - 1], times[n - k]])
