# exercise: dense
# outcome: wrong
# shows: float64
# why: fills an array that was made without a dtype
def dense(x, w, b):
    y = np.zeros((len(x), w.shape[1]))
    y += x @ w
    y += b
    return np.maximum(y, 0)
