# exercise: two_level_allreduce
# outcome: wrong
# shows: crosses the slow link between two nodes
# why: averages inside the node first, and then every device sends the whole array across
def two_level_allreduce(comm, x, per_node):
    node, device = divmod(comm.rank, per_node)
    mates = Group(comm, range(node * per_node, (node + 1) * per_node))
    peers = Group(comm, range(device, comm.size, per_node))
    return ring_allreduce(peers, ring_allreduce(mates, x))
