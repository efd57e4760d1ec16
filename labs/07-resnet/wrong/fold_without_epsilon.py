# exercise: fold
# outcome: wrong
# shows: adds something to the variance
# why: leaves epsilon out
def fold(x, w, gamma, beta, mean, variance):
    scale = gamma / np.sqrt(variance)
    y = x.reshape(-1, x.shape[3]) @ (w * scale)
    y += beta - mean * scale
    return y.reshape(*x.shape[:3], -1)
