# exercise: alexnet
# outcome: wrong
# shows: only at the channels on their own graphics card
# why: every layer sees all channels: 62 million weights, the count that one finds everywhere
def alexnet(classes):
    return np.array([[96, 11, 4, 0, 1], [0, 3, 2, 0, 1], [256, 5, 1, 2, 1], [0, 3, 2, 0, 1], [384, 3, 1, 1, 1], [384, 3, 1, 1, 1],
                     [256, 3, 1, 1, 1], [0, 3, 2, 0, 1], [4096, 0, 1, 0, 1], [4096, 0, 1, 0, 1], [classes, 0, 1, 0, 1]])
