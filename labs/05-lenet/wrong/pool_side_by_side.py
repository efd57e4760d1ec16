# exercise: pool
# outcome: wrong
# shows: Your windows lie side by side
# why: reshapes into blocks of k: right only where the stride is k and nothing is left over
def pool(x, k, s):
    N, H, W, C = x.shape
    x = x[:, :H // k * k, :W // k * k]
    return x.reshape(N, H // k, k, W // k, k, C).max(axis=(2, 4))
