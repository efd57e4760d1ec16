# exercise: sees
# outcome: wrong
# shows: neighbours look 2 pixels apart
# why: 5 + 2 + 5 + 2 less one for each: forgets that the first stride makes every later window wider
predict("sees", 11)
