# exercise: double
# outcome: pass
# why: timing magics and comments
%load_ext autoreload
def double(x):
    # %timeit does not belong here, but it does no harm
    %time y = x + x
    return y
