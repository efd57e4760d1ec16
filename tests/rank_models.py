"""Small models and their batches, for what is tested on several ranks. Imported there as well."""

from __future__ import annotations

from typing import Any

import numpy as np

BATCH, STEPS = 24, 4                        # the whole batch, for all ranks together


def dense() -> Any:
    import keras
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)])


def frozen_and_tied() -> Any:
    """One layer is used twice, one is not trained."""
    import keras
    frozen, tied = keras.layers.Dense(6, trainable=False), keras.layers.Dense(6, activation="tanh")
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(3)(tied(frozen(tied(inputs)))))


def embedding() -> Any:
    """Some tokens come in the batches of several ranks, and several times in one; most come in none."""
    import keras
    return keras.Sequential([keras.Input((6,), dtype="int32"), keras.layers.Embedding(50, 4), keras.layers.Flatten(),
                             keras.layers.Dense(3)])


def batches(model: Any, seed: int = 7) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    integer = model.inputs[0].dtype == "int32"
    draw = (lambda: rng.integers(0, 9, (BATCH, 6), dtype=np.int32)) if integer else (lambda: rng.normal(size=(BATCH, 6)).astype("f4"))
    return [(draw(), rng.normal(size=(BATCH, 3)).astype("f4")) for _ in range(STEPS)]
