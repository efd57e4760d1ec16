# exercise: axpy_share
# outcome: partial
# shows: two calls move 20
# why: takes the roofline for a prediction of the time; it is a limit
predict("axpy_share", 100)
