# exercise: conv_work
# outcome: wrong
# shows: 784 times for a picture
# why: thinks that work goes with parameters: the share of the numbers to learn
predict("conv_work", 4.2)
