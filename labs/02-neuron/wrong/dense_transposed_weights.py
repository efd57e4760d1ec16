# exercise: dense
# outcome: wrong
# shows: returned shape
# why: thinks of a neuron as a row: the result is transposed
def dense(x, w, b):
    return np.maximum(w.T @ x.T + b[:, None], 0)
