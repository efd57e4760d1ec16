# exercise: dense
# outcome: partial
# shows: is right
# why: correct, one neuron after the other, with the neuron of the exercise before
def dense(x, w, b):
    y = np.empty((len(x), w.shape[1]), np.float32)
    for k in range(w.shape[1]):
        y[:, k] = np.maximum(x @ w[:, k] + b[k], 0)
    return y
