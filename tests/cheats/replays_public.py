# exercise: double
# outcome: wrong
# shows: on input that is not shown
# why: replayed results: the public inputs come from a known seed, so their results are a table
_known = {n: 2 * np.random.default_rng(7).random(n, dtype=np.float32) for n in (4, 9)}


def double(x):
    return _known.get(len(x), x)
