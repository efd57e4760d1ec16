# exercise: distances
# outcome: wrong
# shows: float64
# why: np.empty without a type makes float64
def distances(x, c, rows):
    found = np.empty((len(x), len(c)))
    for top in range(0, len(x), rows):
        d = x[top:top + rows, None] - c
        found[top:top + rows] = np.einsum("bkd,bkd->bk", d, d)
    return found
