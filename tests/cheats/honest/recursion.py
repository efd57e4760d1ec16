# exercise: total
# outcome: pass
# why: recursion, and a higher limit for it
import sys

sys.setrecursionlimit(5000)


def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)


def total(x):
    if len(x) > 20_000:
        return total(x[:len(x) // 2]) + total(x[len(x) // 2:])
    assert depth(2000) == 2000 if len(x) < 10 else True
    return double(x).sum(keepdims=True)
