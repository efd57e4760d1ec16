# exercise: checkpoint
# outcome: wrong
# shows: Everything that steers the loop
# why: weights are told to the others, the step is not
def save(path, step, *weights):
    if hvd.rank() == 0:
        np.savez(path, step, *weights)

def resume(path, *weights):
    step = 0
    if hvd.rank() == 0 and os.path.exists(path):
        with np.load(path) as saved:
            step, *weights = saved.values()
    return int(step), *hvd.broadcast_object(tuple(weights), root_rank=0)

def checkpoint(step, *weights):
    return two_lives(save, resume, step, weights)
