# exercise: same_start
# outcome: wrong
# shows: Every worker still has its own weights
# why: broadcasts, and returns what it had before
def same_start(*weights):
    hvd.broadcast_object(weights, root_rank=0)
    return tuple(w.copy() for w in weights)
