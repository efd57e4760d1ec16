# exercise: distances
# outcome: wrong
# shows: the leading digits cancel
# why: x² - 2xc + c² with a matrix product: very fast, and no digits left
def distances(x, c, rows):
    return (x * x).sum(axis=1)[:, None] - 2 * x @ c.T + (c * c).sum(axis=1)
