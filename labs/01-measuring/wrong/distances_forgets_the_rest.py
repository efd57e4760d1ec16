# exercise: distances
# outcome: wrong
# shows: The last block may be smaller
# why: whole blocks only: the rows that are left over stay zero
def distances(x, c, rows):
    found = np.zeros((len(x), len(c)), x.dtype)
    for block in range(len(x) // rows):
        part = slice(block * rows, (block + 1) * rows)
        d = x[part, None] - c
        found[part] = np.einsum("bkd,bkd->bk", d, d)
    return found
