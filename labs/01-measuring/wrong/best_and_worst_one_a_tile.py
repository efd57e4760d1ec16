# exercise: best_and_worst
# outcome: wrong
# shows: number of ones
# why: one number in each tile is enough to spoil it, so it stops there
def best_and_worst(rows, columns, tile, full):
    down, across = rows // tile, columns // tile
    lines = np.zeros((down * across, tile * tile), bool)
    lines.flat[:full] = True
    best = lines.reshape(down, across, tile, tile).swapaxes(1, 2).reshape(rows, columns)
    worst = np.zeros((rows, columns), bool)
    worst[::tile, ::tile] = True
    return best, worst
