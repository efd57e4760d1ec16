# exercise: crossover
# outcome: wrong
# shows: You predicted
# why: the answer in bytes where kB are asked for
predict("crossover", 117_600)
