# exercise: attainable
# outcome: wrong
# shows: are nanoseconds
# why: divides FLOP by GFLOP/s and calls it seconds
def attainable(flops, nbytes, peak, bandwidth):
    gflops = np.minimum(peak, flops / nbytes * bandwidth)
    return gflops, flops / gflops
