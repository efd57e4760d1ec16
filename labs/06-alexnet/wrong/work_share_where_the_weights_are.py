# exercise: work_share
# outcome: wrong
# shows: it is 8
# why: most weights, so most of the work: the natural guess
predict("work_share", 90)
