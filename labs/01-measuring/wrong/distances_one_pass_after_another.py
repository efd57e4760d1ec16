# exercise: distances
# outcome: partial
# shows: `distances` is right
# why: ignores rows: right, and as slow as the baseline
def distances(x, c, rows):
    difference = x[:, None] - c
    square = difference ** 2
    return np.sum(square, axis=2)
