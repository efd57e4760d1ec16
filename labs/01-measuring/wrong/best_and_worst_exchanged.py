# exercise: best_and_worst
# outcome: wrong
# shows: These are exchanged
# why: takes the case with most work for the best one
def best_and_worst(rows, columns, tile, full):
    down, across = rows // tile, columns // tile
    one, other = np.zeros((2, down * across, tile * tile), bool)
    one.flat[:full] = True
    other.T.flat[:full] = True
    one, other = (a.reshape(down, across, tile, tile).swapaxes(1, 2).reshape(rows, columns) for a in (one, other))
    return other, one
