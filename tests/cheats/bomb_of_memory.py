# exercise: double
# outcome: out of memory
# marks: chaos
# shows: more memory than a check allows
# why: memory bomb (this one stops at 6 GB of address space, and touches little of it)
def double(x):
    kept = [np.empty(1 << 27, np.uint8) for _ in range(48)]
    return x + x if kept else x
