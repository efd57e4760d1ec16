# exercise: conv_gemm
# outcome: wrong
# shows: wrong values
# why: returns an empty array at once and fills it in a thread that goes on after the return
import threading
import time


def conv_gemm(x, w):
    k, _, C, K = w.shape
    patches = im2col(x, k)
    N, H, W = patches.shape[:3]
    y = np.full((N, H, W, K), 0.5, x.dtype)

    def later():
        time.sleep(0.05)
        np.matmul(patches.reshape(-1, k * k * C), w.reshape(-1, K), out=y.reshape(-1, K))

    threading.Thread(target=later, daemon=True).start()
    return y
