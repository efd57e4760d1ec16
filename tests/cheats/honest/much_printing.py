# exercise: double
# outcome: pass
# why: 100 kB of output in every call
def double(x):
    print("x" * 100_000)
    return x + x
