# exercise: mean
# outcome: pass
# why: another collective, and hvd.init() once more
import horovod.tensorflow as hvd

hvd.init()
assert hvd.is_initialized() and hvd.size() > 1


def mean(x):
    return hvd.allgather(x[None]).numpy().mean(axis=0, dtype=np.float32)
