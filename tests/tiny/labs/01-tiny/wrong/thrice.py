# exercise: double
# outcome: wrong
# shows: That is thrice.
# why: three is not two


def double(x):
    return 3 * x
