# exercise: alexnet
# outcome: wrong
# shows: one of the others reads both towers
# why: two groups in every convolution, conv1 and conv3 included
def alexnet(classes):
    return np.array([[96, 11, 4, 0, 2], [0, 3, 2, 0, 1], [256, 5, 1, 2, 2], [0, 3, 2, 0, 1], [384, 3, 1, 1, 2], [384, 3, 1, 1, 2],
                     [256, 3, 1, 1, 2], [0, 3, 2, 0, 1], [4096, 0, 1, 0, 1], [4096, 0, 1, 0, 1], [classes, 0, 1, 0, 1]])
