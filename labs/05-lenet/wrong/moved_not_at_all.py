# exercise: moved
# outcome: wrong
# shows: that is still a lot
# why: believes that convolutions do not mind where things are
predict("moved", 88)
