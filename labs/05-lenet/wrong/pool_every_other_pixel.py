# exercise: pool
# outcome: wrong
# shows: one corner of each window
# why: subsampling only: keeps the first number of each window
def pool(x, k, s):
    N, H, W, C = x.shape
    return x[:, :H - k + 1:s, :W - k + 1:s].copy()
