# exercise: average_gradients
# outcome: wrong
# shows: This is the sum over all workers
# why: sum, not mean
def average_gradients(*gradients):
    return tuple(g.numpy() for g in hvd.grouped_allreduce(list(gradients), op=hvd.Sum))
