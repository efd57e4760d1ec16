# exercise: two_level_allreduce
# outcome: wrong
# shows: crosses the slow link between two nodes
# why: the ring takes no notice of nodes
def two_level_allreduce(comm, x, per_node):
    return ring_allreduce(comm, x)
