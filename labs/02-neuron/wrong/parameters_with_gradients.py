# exercise: parameters
# outcome: wrong
# shows: 784 weights and one bias
# why: doubles the first layer: a number for the weight and one for its gradient
predict("parameters", 784 * 128 * 2)
