# exercise: two_level_allreduce
# outcome: wrong
# shows: crosses the slow link between two nodes
# why: mates and peers exchanged: the large part goes over the slow links
def two_level_allreduce(comm, x, per_node):
    node, device = divmod(comm.rank, per_node)
    nodes = comm.size // per_node
    peers = Group(comm, range(device, comm.size, per_node))
    mates = Group(comm, range(node * per_node, (node + 1) * per_node))
    chunk = reduce_scatter(peers, x)
    chunk = ring_allreduce(mates, chunk)
    return all_gather(peers, chunk, x.size) / nodes
