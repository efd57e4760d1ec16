# exercise: mean
# outcome: pass
# why: inside a traced function, in a group, summed and divided
import horovod.tensorflow as hvd
import tensorflow as tf


@tf.function
def both(x):
    return hvd.grouped_allreduce([x[:2], x[2:]], op=hvd.Sum)


def mean(x):
    print(f"hello from {hvd.rank()} of {hvd.size()}")
    return (tf.concat(both(tf.constant(x)), 0) / hvd.size()).numpy()
