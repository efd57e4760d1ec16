# exercise: frugal
# outcome: pass
# why: threads of its own, joined before it returns
import threading


def frugal(x):
    parts = np.zeros(2, np.float32)

    def half(i):
        parts[i] = np.dot(x[i::2], x[i::2])

    threads = [threading.Thread(target=half, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return parts.sum(keepdims=True)
