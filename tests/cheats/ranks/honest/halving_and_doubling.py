# exercise: shift
# outcome: pass
# why: a generator that talks, helper threads that do not
from concurrent.futures import ThreadPoolExecutor


def talk(comm, x, by):
    y = np.empty_like(x)
    for part, there in zip(np.array_split(x, 3), np.array_split(y, 3)):
        comm.Send(part, (comm.rank + by) % comm.size)
        comm.Recv(there, (comm.rank - by) % comm.size)
        yield there


def shift(comm, x, by):
    with ThreadPoolExecutor(2) as pool:
        return np.concatenate(list(pool.map(np.copy, list(talk(comm, x, by)))))
