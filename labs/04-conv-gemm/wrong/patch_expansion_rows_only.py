# exercise: patch_expansion
# outcome: wrong
# shows: it is 9
# why: counts the rows of the window and forgets its columns
predict("patch_expansion", 3)
