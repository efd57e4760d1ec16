# exercise: alexnet
# outcome: wrong
# shows: How much border leaves 27 as 27
# why: no padding anywhere
def alexnet(classes):
    return np.array([[96, 11, 4, 0, 1], [0, 3, 2, 0, 1], [256, 5, 1, 0, 2], [0, 3, 2, 0, 1], [384, 3, 1, 0, 1], [384, 3, 1, 0, 2],
                     [256, 3, 1, 0, 2], [0, 3, 2, 0, 1], [4096, 0, 1, 0, 1], [4096, 0, 1, 0, 1], [classes, 0, 1, 0, 1]])
