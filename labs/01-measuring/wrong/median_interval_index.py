# exercise: median_interval
# outcome: wrong
# shows: one rank too narrow
# why: takes rank k for index k
def median_interval(times):
    ordered, n, k = np.sort(times), len(times), 1
    while 2 * sum(math.comb(n, i) for i in range(k + 1)) <= 0.05 * 2 ** n:
        k += 1
    return np.array([np.median(ordered), ordered[k], ordered[n - k - 1]])
