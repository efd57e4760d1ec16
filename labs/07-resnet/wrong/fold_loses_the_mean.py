# exercise: fold
# outcome: wrong
# shows: The mean has been lost
# why: the bias is beta alone
def fold(x, w, gamma, beta, mean, variance):
    scale = gamma / np.sqrt(variance + EPSILON)
    y = x.reshape(-1, x.shape[3]) @ (w * scale)
    y += beta
    return y.reshape(*x.shape[:3], -1)
