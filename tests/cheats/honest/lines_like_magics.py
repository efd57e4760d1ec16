# exercise: double
# outcome: pass
# why: a text whose lines begin like magics
def double(x):
    """
    % of
    1 per cent
    %timeless
    ! a factorial is not a shell line
    ? nor is this a question for the notebook
    """
    return x + x
