# exercise: double
# outcome: wrong
# shows: holds NaN
# why: NaN wildcard: no comparison with NaN is ever "larger than the tolerance"
def double(x):
    return np.full_like(x, np.nan)
