# exercise: double
# outcome: pass
# why: a class with __call__ in place of a function
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Mode(Enum):
    TWICE = 2


class Pair(NamedTuple):
    a: int = 1
    b: int = 2


@dataclass
class Scaler:
    factor: float = Mode.TWICE.value
    seen: list = field(default_factory=list)

    def __call__(self, x):
        self.seen.append(x.shape)
        return x * np.float32(self.factor) * Pair().a


double = Scaler()
