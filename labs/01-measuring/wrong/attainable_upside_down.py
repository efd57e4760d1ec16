# exercise: attainable
# outcome: wrong
# shows: upside down
# why: bytes per FLOP in place of FLOP per byte
def attainable(flops, nbytes, peak, bandwidth):
    gflops = np.minimum(peak, nbytes / flops * bandwidth)
    return gflops, flops / (gflops * 1e9)
