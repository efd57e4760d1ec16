# exercise: attainable
# outcome: wrong
# shows: the larger of the two
# why: maximum in place of minimum
def attainable(flops, nbytes, peak, bandwidth):
    gflops = np.maximum(peak, flops / nbytes * bandwidth)
    return gflops, flops / (gflops * 1e9)
