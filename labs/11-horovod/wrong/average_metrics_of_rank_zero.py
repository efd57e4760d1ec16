# exercise: average_metrics
# outcome: wrong
# shows: Each rank reports its own pictures only
# why: metrics of rank 0 only: nothing is averaged
def average_metrics(values, count):
    return values.copy()
