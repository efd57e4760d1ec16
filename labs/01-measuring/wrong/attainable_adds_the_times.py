# exercise: attainable
# outcome: wrong
# shows: at the same time
# why: adds the time of the memory and that of the arithmetic
def attainable(flops, nbytes, peak, bandwidth):
    seconds = flops / (peak * 1e9) + nbytes / (bandwidth * 1e9)
    return flops / seconds / 1e9, seconds
