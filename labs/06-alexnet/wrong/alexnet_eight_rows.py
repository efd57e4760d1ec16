# exercise: alexnet
# outcome: wrong
# shows: Each of the three poolings has a row of its own
# why: lists the eight layers with weights and forgets the poolings
def alexnet(classes):
    return np.array([[96, 11, 4, 0, 1], [256, 5, 1, 2, 2], [384, 3, 1, 1, 1], [384, 3, 1, 1, 2], [256, 3, 1, 1, 2],
                     [4096, 0, 1, 0, 1], [4096, 0, 1, 0, 1], [classes, 0, 1, 0, 1]])
