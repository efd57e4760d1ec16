# exercise: ablation
# outcome: wrong
# shows: 1.96 is for hundreds of runs
# why: the normal distribution's quantile with a handful of seeds
def ablation(runs, t):
    lost = runs[0] - runs
    half = 1.96 * lost.std(1, ddof=1) / runs.shape[1] ** 0.5
    return np.stack([runs.mean(1), runs.std(1, ddof=1), lost.mean(1), half], axis=1)
