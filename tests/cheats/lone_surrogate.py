# exercise: double
# outcome: wrong
# shows: raised ValueError
# why: an exception whose text cannot be written in UTF-8
def double(x):
    raise ValueError("\ud800\udfff")
