# exercise: ablation
# outcome: wrong
# shows: needs S - 1
# why: NumPy's default, which divides by S
def ablation(runs, t):
    lost = runs[0] - runs
    half = t * lost.std(1) / runs.shape[1] ** 0.5
    return np.stack([runs.mean(1), runs.std(1), lost.mean(1), half], axis=1)
