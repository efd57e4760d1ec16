# exercise: median_interval
# outcome: wrong
# shows: both sides
# why: allows 5 % on each side
def median_interval(times):
    ordered, n, k = np.sort(times), len(times), 1
    while sum(math.comb(n, i) for i in range(k + 1)) <= 0.05 * 2 ** n:
        k += 1
    return np.array([np.median(ordered), ordered[k - 1], ordered[n - k]])
