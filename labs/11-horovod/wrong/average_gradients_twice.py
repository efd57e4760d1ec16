# exercise: average_gradients
# outcome: wrong
# shows: divided by N a second time
# why: Horovod averages already, and the answer divides again
def average_gradients(*gradients):
    return tuple(g.numpy() / np.float32(hvd.size()) for g in hvd.grouped_allreduce(list(gradients)))
