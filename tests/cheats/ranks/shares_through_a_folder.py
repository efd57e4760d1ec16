# exercise: shift
# outcome: wrong
# shows: FileNotFoundError
# why: ranks that leave their arrays in /tmp for each other send no messages
# needs: jail
def shift(comm, x, by):
    np.save(f"/tmp/from-{comm.rank}.npy", x)
    comm.Barrier()
    return np.load(f"/tmp/from-{(comm.rank - by) % comm.size}.npy")
