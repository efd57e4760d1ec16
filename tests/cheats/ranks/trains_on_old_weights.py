# exercise: train
# outcome: wrong
# shows: `train` returned wrong values
# why: averages the weights once at the end, which is not what full-batch training does
def train(x, y, w, steps):
    import horovod.tensorflow as hvd
    w = hvd.broadcast(w, root_rank=0).numpy()
    for _ in range(steps):
        w = w - np.float32(0.1) * 2 * x.T @ (x @ w - y) / len(x)
    return hvd.allreduce(w, op=hvd.Average).numpy()
