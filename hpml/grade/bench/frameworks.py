"""A small lab whose answers are TensorFlow code, for `hpml bench grading`: its text, mistakes made in it, and its trusted side.

It is no lab of the course: nothing is measured in it, and a single kernel can check all of it, so stock nbgrader can, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hpml.exercise import Exercise, Size

NAME = "90-frameworks"
ENTRY: dict[str, Any] = {
    "lab": NAME, "title": "A step of training, by hand", "part": 1, "status": "ready", "minutes": 20,
    "exercises": {"dense": {"points": 2}, "cross_entropy": {"points": 2}, "gradient": {"points": 3}, "step": {"points": 3}}}

LAB = '''\
# %% [markdown] slide="slide"
r"""
# A step of training, by hand
"""
# %% given="preamble"
import numpy as np
import tensorflow as tf

# %%
import hpml
from hpml import check, predict

hpml.lab("90-frameworks")

# %% exercise="dense"
def dense(x, w, b):
    """A layer: x (N, C), w (C, K), b (K,), all float32. Returns relu(x w + b), (N, K)."""
    ### BEGIN SOLUTION
    return tf.nn.relu(tf.matmul(x, w) + b).numpy()
    ### END SOLUTION

# %% check="dense"
check("dense")

# %% exercise="cross_entropy"
def cross_entropy(scores, labels):
    """Scores (N, K) float32, labels (N,) int64. Returns the loss of each picture, (N,)."""
    ### BEGIN SOLUTION
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores).numpy()
    ### END SOLUTION

# %% check="cross_entropy"
check("cross_entropy")

# %% exercise="gradient"
def gradient(w, x, y):
    """The gradient of mean((x w - y)**2) with respect to w: w (C, K), x (N, C), y (N, K), float32."""
    ### BEGIN SOLUTION
    w = tf.constant(w)
    with tf.GradientTape() as tape:
        tape.watch(w)
        loss = tf.reduce_mean((tf.matmul(x, w) - y) ** 2)
    return tape.gradient(loss, w).numpy()
    ### END SOLUTION

# %% check="gradient"
check("gradient")

# %% exercise="step"
def step(w, x, y, rate):
    """w after one step of gradient descent; rate is a float. Use your gradient."""
    ### BEGIN SOLUTION
    return w - np.float32(rate) * gradient(w, x, y)
    ### END SOLUTION

# %% check="step"
check("step")

# %% [markdown]
r"""
The same with a whole network: two epochs on made-up pictures.
"""
# %% uses="step"
import keras

rng = np.random.default_rng(90)
pictures, labels = rng.random((2048, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, 2048)
model = keras.Sequential([keras.layers.Input((28, 28, 1)), keras.layers.Conv2D(16, 3, activation="relu"), keras.layers.Flatten(),
                          keras.layers.Dense(10)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
history = model.fit(pictures, labels, batch_size=64, epochs=2, verbose=0)
history.history["loss"]
'''

WRONG = (                       # (exercise, answer)
    ("dense", "def dense(x, w, b):\n    return (tf.matmul(x, w) + b).numpy()          # no relu"),
    ("cross_entropy", "def cross_entropy(scores, labels):\n    p = tf.nn.softmax(scores, axis=0)\n"
                      "    return -tf.math.log(tf.gather(p, labels, batch_dims=1)).numpy()"),
    ("gradient", "def gradient(w, x, y):\n    return (2 * tf.matmul(x, tf.matmul(x, w) - y, transpose_a=True)).numpy()     # no mean"),
    ("step", "def step(w, x, y, rate):\n    return w + np.float32(rate) * gradient(w, x, y)          # uphill"),
    ("dense", "def dense(x, w, b):\n    return tf.nn.relu(tf.matmul(x, w)).numpy() + b          # b too late"),
    ("cross_entropy", "def cross_entropy(scores, labels):\n    loss = tf.nn.sparse_softmax_cross_entropy_with_logits("
                      "labels=labels, logits=scores)\n    return tf.reduce_mean(loss).numpy()"),
    ("step", "def step(w, x, y, rate):\n    return rate * gradient(w, x, y)          # forgets w"),
)


def _arrays(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def sample_dense(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return tuple(_arrays(rng, (size["N"], size["C"]), (size["C"], size["K"]), (size["K"],)))


def sample_scores(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return _arrays(rng, (size["N"], size["K"]))[0], rng.integers(0, size["K"], size["N"])


def sample_gradient(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return tuple(_arrays(rng, (size["C"], size["K"]), (size["N"], size["C"]), (size["N"], size["K"])))


def sample_step(rng: np.random.Generator, size: Size) -> tuple[Any, ...]:
    return *sample_gradient(rng, size), 0.125


def relu(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(x @ w + b, np.float32(0))


def losses(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    return -np.log(chances[np.arange(len(labels)), labels] / chances.sum(axis=1))


def slope(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.float32(2 / y.size) * (x.T @ (x @ w - y))


def downhill(w: np.ndarray, x: np.ndarray, y: np.ndarray, rate: float) -> np.ndarray:
    return w - np.float32(rate) * slope(w, x, y)


SIZES = ({"N": 3, "C": 4, "K": 5}, {"N": 8, "C": 3, "K": 2})
HIDDEN = ({"N": 17, "C": 9, "K": 6},)


def _exercise(sample: Any, oracle: Any, uses: tuple[str, ...] = ()) -> Exercise:
    return Exercise(sample, oracle, SIZES, HIDDEN, uses=uses, tolerance={"float32": 1e-4}, preload=("tensorflow",), forbids=())


EXERCISES = {"dense": _exercise(sample_dense, relu), "cross_entropy": _exercise(sample_scores, losses),
             "gradient": _exercise(sample_gradient, slope), "step": _exercise(sample_step, downhill, ("gradient",))}
