# exercise: fold
# outcome: wrong
# shows: inside the bracket
# why: subtracts the mean without its scale
def fold(x, w, gamma, beta, mean, variance):
    scale = gamma / np.sqrt(variance + EPSILON)
    y = x.reshape(-1, x.shape[3]) @ (w * scale)
    y += beta - mean
    return y.reshape(*x.shape[:3], -1)
