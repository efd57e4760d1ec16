# exercise: dense_share
# outcome: wrong
# shows: it is 96
# why: puts the weights where the work is
predict("dense_share", 8)
