# exercise: double
# outcome: pass
# why: helper functions, global constants, type hints, unicode names, walrus, comments
from __future__ import annotations

from typing import Final

FAKTOR: Final = 2  # zwei, deux, 二
π = 3.14159


def _zweimal(größe: np.ndarray) -> np.ndarray:
    """Zweimal dasselbe: ✓ – “genau”."""
    return größe * FAKTOR if (n := len(größe)) >= 0 and n < 10**9 else größe


def double(x: np.ndarray, *, check: bool = True) -> "np.ndarray":
    assert not check or x.ndim == 1, f"one axis, not {x.ndim}"
    try:
        return _zweimal(x)
    except ValueError as error:
        raise RuntimeError("this cannot happen") from error
    finally:
        pass
