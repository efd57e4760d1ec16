# exercise: two_level_allreduce
# outcome: wrong
# shows: as many times too large as
# why: the mean over nodes of sums over a node, not divided by the devices of a node
def two_level_allreduce(comm, x, per_node):
    node, device = divmod(comm.rank, per_node)
    mates = Group(comm, range(node * per_node, (node + 1) * per_node))
    peers = Group(comm, range(device, comm.size, per_node))
    return all_gather(mates, ring_allreduce(peers, reduce_scatter(mates, x)), x.size)
