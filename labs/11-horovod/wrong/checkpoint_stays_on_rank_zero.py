# exercise: checkpoint
# outcome: wrong
# shows: how do the others get it?
# why: rank 0 reads the file and tells nobody
def save(path, step, *weights):
    if hvd.rank() == 0:
        np.savez(path, step, *weights)

def resume(path, *weights):
    weights = hvd.broadcast_object(weights, root_rank=0)
    step = 0
    if hvd.rank() == 0 and os.path.exists(path):
        with np.load(path) as saved:
            step, *weights = saved.values()
    return (int(step), *weights)

def checkpoint(step, *weights):
    return two_lives(save, resume, step, weights)
