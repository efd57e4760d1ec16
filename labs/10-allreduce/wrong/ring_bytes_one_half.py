# exercise: ring_bytes
# outcome: wrong
# shows: it is 1.75
# why: counts the first half of the ring and forgets the second
predict("ring_bytes", 7 / 8)
