# exercise: alexnet
# outcome: wrong
# shows: as many outputs as there are classes
# why: the thousand classes of ImageNet, whatever is asked for
def alexnet(classes):
    return np.array([[96, 11, 4, 0, 1], [0, 3, 2, 0, 1], [256, 5, 1, 2, 2], [0, 3, 2, 0, 1], [384, 3, 1, 1, 1], [384, 3, 1, 1, 2],
                     [256, 3, 1, 1, 2], [0, 3, 2, 0, 1], [4096, 0, 1, 0, 1], [4096, 0, 1, 0, 1], [1000, 0, 1, 0, 1]])
