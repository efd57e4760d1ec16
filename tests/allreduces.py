"""Four ways to sum a vector over all ranks, in mpi4py's calls. The tests run them on paper, on processes, and beside Horovod."""

from __future__ import annotations

from typing import Any

import numpy as np


def gather_broadcast(comm: Any, x: np.ndarray) -> np.ndarray:
    """Rank 0 adds everybody's up and tells them."""
    total = x.copy()
    if comm.rank == 0:
        other = np.empty_like(x)
        for source in range(1, comm.size):
            comm.Recv(other, source)
            total += other
        for dest in range(1, comm.size):
            comm.Send(total, dest)
    else:
        comm.Send(x, 0)
        comm.Recv(total, 0)
    return total


def tree(comm: Any, x: np.ndarray) -> np.ndarray:
    """A binomial tree: up to rank 0, doubling the distance, and down again. Any number of ranks."""
    total, other, step = x.copy(), np.empty_like(x), 1
    while step < comm.size:
        if comm.rank % (2 * step) == step:
            comm.Send(total, comm.rank - step)
        elif comm.rank % (2 * step) == 0 and comm.rank + step < comm.size:
            comm.Recv(other, comm.rank + step)
            total += other
        step *= 2
    while step > 1:
        step //= 2
        if comm.rank % (2 * step) == step:
            comm.Recv(total, comm.rank - step)
        elif comm.rank % (2 * step) == 0 and comm.rank + step < comm.size:
            comm.Send(total, comm.rank + step)
    return total


def _ring(comm: Any, total: np.ndarray, members: list[int]) -> None:
    """Ring among some of the ranks, in place; the lengths need not divide."""
    n, at = len(members), members.index(comm.rank)
    right, left = members[(at + 1) % n], members[(at - 1) % n]
    parts = np.array_split(total, n)
    room = np.empty_like(parts[0])
    for k in range(n - 1):
        mine = parts[(at - k - 1) % n]
        comm.Sendrecv(parts[(at - k) % n], right, 0, room[:mine.size], left, 0)
        mine += room[:mine.size]
    for k in range(n - 1):
        comm.Sendrecv(parts[(at + 1 - k) % n], right, 0, parts[(at - k) % n], left, 0)


def ring(comm: Any, x: np.ndarray) -> np.ndarray:
    """Reduce-scatter and allgather, both round the ring."""
    total = x.copy()
    _ring(comm, total, list(range(comm.size)))
    return total


def two_level(comm: Any, x: np.ndarray, per_node: int) -> np.ndarray:
    """To the first rank of each node, a ring of those, and back to the node."""
    total, other = x.copy(), np.empty_like(x)
    first = comm.rank // per_node * per_node
    if comm.rank != first:
        comm.Send(total, first)
        comm.Recv(total, first)
        return total
    for source in range(first + 1, first + per_node):
        comm.Recv(other, source)
        total += other
    _ring(comm, total, list(range(0, comm.size, per_node)))
    for dest in range(first + 1, first + per_node):
        comm.Send(total, dest)
    return total


def horovod_sum(x_of: dict[int, np.ndarray]) -> np.ndarray:
    """The same by Horovod, on the rank that calls it."""
    import horovod.tensorflow as hvd
    import tensorflow as tf
    hvd.init()
    total: np.ndarray = hvd.allreduce(tf.constant(x_of[hvd.rank()]), op=hvd.Sum).numpy()
    hvd.shutdown()
    return total
