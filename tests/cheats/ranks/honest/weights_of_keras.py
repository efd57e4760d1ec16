# exercise: mean
# outcome: pass
# why: goes through Keras variables, a scratch file and a thread
import threading

import horovod.tensorflow as hvd
import keras


def mean(x):
    held = keras.Variable(x)
    done = []
    worker = threading.Thread(target=lambda: done.append(hvd.allreduce(held.value, op=hvd.Average)))
    worker.start()
    worker.join()
    held.assign(done[0])
    np.save(f"/tmp/mean-{hvd.rank()}.npy", keras.ops.convert_to_numpy(held))
    return np.load(f"/tmp/mean-{hvd.rank()}.npy")
