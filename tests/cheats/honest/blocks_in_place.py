# exercise: frugal
# outcome: pass
# why: blocks with one small buffer
def frugal(x):
    buffer, s = np.empty(1 << 16, np.float32), np.float32(0)
    for start in range(0, len(x), 1 << 16):
        b = x[start:start + (1 << 16)]
        np.multiply(b, b, out=buffer[:len(b)])
        s += buffer[:len(b)].sum()
    return np.array([s], np.float32)
