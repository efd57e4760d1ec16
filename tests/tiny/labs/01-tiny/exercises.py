import numpy as np

from hpml.exercise import Exercise, Hint, Prediction, Work


def sample(rng, size):
    return (rng.random(size["n"], dtype=np.float32),)


def python_sum(x):
    import numpy as np

    s = 0.0
    for v in x.tolist():
        s += 2 * v
    return np.array([s], np.float32)


SIZES = ({"n": 4}, {"n": 9})
LOOSE = {"float32": 1e-4}

EXERCISES = {
    "guess": Prediction(truth=lambda verdicts: 2.0, unit="×", explain=lambda guess, truth: "Twice is two."),
    "double": Exercise(sample, lambda x: 2 * x, SIZES, [{"n": 33}], seconds=1.0,
                       hints=[Hint(lambda c: c.got.shape == c.expected.shape and np.allclose(c.got, 3 * c.args[0]), "That is thrice.")]),
    "top": Exercise(sample, lambda x: x[: len(x) // 2], SIZES, view=True, seconds=1.0),
    "total": Exercise(sample, lambda x: (2 * x).sum(keepdims=True), SIZES, baselines={"python_sum": python_sum}, tolerance=LOOSE,
                      uses=["double"], work=lambda size: Work(2.0 * size["n"], 4.0 * size["n"])),
    "frugal": Exercise(sample, lambda x: np.array([np.dot(x, x)], np.float32), SIZES, tolerance=LOOSE),
}
