# exercise: bytes_per_step
# outcome: wrong
# shows: of 4 bytes
# why: counts numbers in place of bytes
predict("bytes_per_step", 77.6)
