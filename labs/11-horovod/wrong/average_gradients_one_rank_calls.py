# exercise: average_gradients
# outcome: timeout
# shows: the same collectives, in the same order
# why: only rank 0 calls the collective, and waits for the others
def average_gradients(*gradients):
    if hvd.rank() == 0:
        return tuple(g.numpy() for g in hvd.grouped_allreduce(list(gradients)))
    return gradients
