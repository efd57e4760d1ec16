import numpy as np

from hpml.exercise import Exercise, Hint, PerRank


def per_rank(rng, size):
    return (PerRank([rng.random(size["n"], dtype=np.float32) for _ in range(size["ranks"])]),)


def ring_budget(size):
    ranks, nbytes = size["ranks"], 4 * size["n"]
    return {"steps": 2 * (ranks - 1), "bytes_per_rank": 2 * (ranks - 1) * nbytes // ranks}


def shifted(x, by):
    ranks = len(x.values)
    return PerRank([x.values[(rank - by) % ranks] for rank in range(ranks)])


def rows(rng, size):
    true = rng.standard_normal((16, 1), dtype=np.float32)
    x = [rng.standard_normal((size["n"], 16), dtype=np.float32) for _ in range(size["ranks"])]
    starts = [rng.standard_normal((16, 1), dtype=np.float32) for _ in x]
    return PerRank(x), PerRank([a @ true for a in x]), PerRank(starts), size["steps"]


def trained(x, y, w, steps):
    x, y, w = np.concatenate(x.values), np.concatenate(y.values), w.values[0]
    for _ in range(steps):
        w = w - np.float32(0.1) * (2 * x.T @ (x @ w - y) / len(x))
    return w


def independent_copies(x, y, w, steps):
    import numpy as np

    for _ in range(steps):
        w = w - np.float32(0.1) * (2 * x.T @ (x @ w - y) / len(x))
    return w


LOOSE = {"float32": 1e-4}
RINGS = ({"ranks": 2, "n": 4}, {"ranks": 4, "n": 8})

EXERCISES = {
    "ring": Exercise(per_rank, lambda x: sum(x.values), RINGS, [{"ranks": 3, "n": 3000}], world="simulated", counters=ring_budget,
                     tolerance=LOOSE, seconds=5.0,
                     hints=[Hint(lambda c: all(np.allclose(g, w / c.size["ranks"]) for g, w in zip(c.got, c.expected)), "That is the mean."),
                            Hint(lambda c: c.size["bytes_per_rank"] > ring_budget(c.size)["bytes_per_rank"], "Send parts, not the whole.")]),
    "shift": Exercise(lambda rng, size: (*per_rank(rng, size), 1), shifted, RINGS, world="simulated", seconds=5.0),
    "mean": Exercise(per_rank, lambda x: sum(x.values) / np.float32(len(x.values)), [{"ranks": 2, "n": 4}], [{"ranks": 3, "n": 5000}],
                     world="horovod", tolerance=LOOSE, seconds=30.0, counters=lambda size: {"loopback_bytes": 3e6},
                     hints=[Hint(lambda c: all(np.allclose(g, w * c.size["ranks"]) for g, w in zip(c.got, c.expected)), "That is the sum.")]),
    "train": Exercise(rows, trained, [{"ranks": 2, "n": 40, "steps": 5}], world="horovod", tolerance={"float32": 1e-3}, seconds=30.0,
                      baselines={"independent_copies": independent_copies}),
}
