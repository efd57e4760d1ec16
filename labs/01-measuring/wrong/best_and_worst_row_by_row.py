# exercise: best_and_worst
# outcome: wrong
# shows: A tile is a square
# why: fills the array row by row, which begins many tiles and finishes none
def best_and_worst(rows, columns, tile, full):
    best, worst = np.zeros((2, rows, columns), bool)
    best.flat[:full] = True
    count = 0
    for i in range(tile * tile):
        for top in range(0, rows, tile):
            for left in range(0, columns, tile):
                if count < full:
                    worst[top + i // tile, left + i % tile] = True
                    count += 1
    return best, worst
