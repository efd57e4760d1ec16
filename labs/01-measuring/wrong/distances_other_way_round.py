# exercise: distances
# outcome: wrong
# shows: the other way round
# why: a row for each average, a column for each picture
def distances(x, c, rows):
    return np.stack([((x - row) ** 2).sum(axis=1) for row in c])
