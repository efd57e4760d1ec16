# exercise: average_metrics
# outcome: wrong
# shows: counts as much as one with fifty
# why: a plain mean over workers
def average_metrics(values, count):
    return hvd.allreduce(values, op=hvd.Average).numpy()
