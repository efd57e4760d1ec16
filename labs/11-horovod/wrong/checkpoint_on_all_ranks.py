# exercise: checkpoint
# outcome: wrong
# shows: only rank 0 has one
# why: every rank writes the file
def save(path, step, *weights):
    np.savez(path, step, *weights)

def resume(path, *weights):
    step = 0
    if os.path.exists(path):
        with np.load(path) as saved:
            step, *weights = saved.values()
    return hvd.broadcast_object((int(step), *weights), root_rank=0)

def checkpoint(step, *weights):
    return two_lives(save, resume, step, weights)
