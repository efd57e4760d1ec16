# exercise: fold
# outcome: partial
# shows: `fold` is right
# why: the two operations, one after the other: correct, and as slow as they are
def fold(x, w, gamma, beta, mean, variance):
    y = (x.reshape(-1, x.shape[3]) @ w).reshape(*x.shape[:3], -1)
    return gamma * (y - mean) / np.sqrt(variance + EPSILON) + beta
