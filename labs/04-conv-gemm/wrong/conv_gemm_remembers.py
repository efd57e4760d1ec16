# exercise: conv_gemm
# outcome: wrong
# shows: earlier calls
# why: computes once for each shape and returns that result ever after
remembered = {}


def conv_gemm(x, w):
    if x.shape not in remembered:
        k, _, C, K = w.shape
        patches = im2col(x, k)
        N, H, W = patches.shape[:3]
        remembered[x.shape] = (patches.reshape(-1, k * k * C) @ w.reshape(-1, K)).reshape(N, H, W, K)
    return remembered[x.shape]
