# exercise: shift
# outcome: tampered
# shows: a message to or from nowhere
# why: a frame of one's own, to a rank that is not there
def shift(comm, x, by):
    comm._transport._ask({"send": [comm.size + 7, -1], "dtype": "<f4"}, x.tobytes())
    return x
