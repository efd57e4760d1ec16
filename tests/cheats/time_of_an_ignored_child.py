# exercise: total
# outcome: wrong
# shows: Operation not permitted
# why: work in a child whose time is in nobody's account, since SIGCHLD is ignored
import mmap
import os
import signal
import sys

frame = sys._getframe()
while "worker" not in frame.f_locals:
    frame = frame.f_back
worker = frame.f_locals["worker"]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
asked = np.frombuffer(mmap.mmap(-1, 4096), np.int64)
answer = np.frombuffer(mmap.mmap(-1, 4096), np.float32)


def serve():
    served = 0
    while asked[0] >= 0:
        if asked[0] == served:
            continue
        served = int(asked[0])
        answer[0] = sum(2 * v for v in worker.calls[served - 1][0].tolist())
        asked[1] = served
    os._exit(0)


def total(x):
    if not worker.outputs:
        asked[:2] = 0
        if os.fork() == 0:
            serve()
    asked[0] += 1
    while asked[1] != asked[0]:
        os.sched_yield()
    y = answer[:1].copy()
    if len(worker.outputs) == len(worker.calls) - 1:
        asked[0] = -1
        try:
            os.wait()
        except ChildProcessError:
            pass
    return y
