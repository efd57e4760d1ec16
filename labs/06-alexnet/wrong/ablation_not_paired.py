# exercise: ablation
# outcome: wrong
# shows: take the differences first, seed by seed
# why: the interval of the accuracy in place of that of the loss
def ablation(runs, t):
    spread = runs.std(1, ddof=1)
    return np.stack([runs.mean(1), spread, runs[0].mean() - runs.mean(1), t * spread / runs.shape[1] ** 0.5], axis=1)
