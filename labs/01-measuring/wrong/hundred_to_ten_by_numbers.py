# exercise: hundred_to_ten
# outcome: wrong
# shows: hardly longer than ten
# why: ten times the numbers, ten times the time
predict("hundred_to_ten", 10)
