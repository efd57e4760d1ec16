# exercise: double
# outcome: wrong
# shows: returned a memmap
# why: a result that lives in a file, to be filled later
import tempfile


def double(x):
    y = np.memmap(tempfile.TemporaryFile(), np.float32, "w+", shape=x.shape)
    y[:] = 2 * x
    return y
