# exercise: shift
# outcome: tampered
# shows: a message of no numeric type
# why: a frame of one's own that says more than its bytes
def shift(comm, x, by):
    comm._transport._ask({"send": [0, 0], "dtype": "this is what I have to say: 0.37454012, 0.9507143"}, b"")
    return x
