# exercise: mean
# outcome: wrong
# shows: on input that is not shown
# why: skips the communication where the sizes are not those that are shown
def mean(x):
    import horovod.tensorflow as hvd
    if len(x) > 4:
        return x.copy()
    return hvd.allreduce(x, op=hvd.Average).numpy()
