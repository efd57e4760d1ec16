# exercise: ablation
# outcome: wrong
# shows: by the square root of S
# why: does not divide by the root of the number of seeds
def ablation(runs, t):
    lost = runs[0] - runs
    return np.stack([runs.mean(1), runs.std(1, ddof=1), lost.mean(1), t * lost.std(1, ddof=1)], axis=1)
