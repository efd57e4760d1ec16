# exercise: best_and_worst
# outcome: wrong
# shows: like cards
# why: scatters the ones at random, which leaves some tiles empty by chance
def best_and_worst(rows, columns, tile, full):
    down, across = rows // tile, columns // tile
    lines = np.zeros((down * across, tile * tile), bool)
    lines.flat[:full] = True
    best = lines.reshape(down, across, tile, tile).swapaxes(1, 2).reshape(rows, columns)
    worst = np.zeros(rows * columns, bool)
    worst[np.random.default_rng(0).permutation(rows * columns)[:full]] = True
    return best, worst.reshape(rows, columns)
