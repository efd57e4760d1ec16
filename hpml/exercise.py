"""What an exercise declares: the trusted side of a lab, written in `labs/NN-name/exercises.py`.

That file defines one dictionary, `EXERCISES`, from the keys of `course.yml` to `Exercise` or `Prediction`. It is imported
by the referee and by the oracle, never by a student's process; import frameworks inside functions, not at the top.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from hpml.course import CourseError, Lab
from hpml.course import Exercise as Entry

if TYPE_CHECKING:
    from hpml.distributed.network import Topology

Size = Mapping[str, int]
MOST_RANKS = 64


@dataclass(frozen=True, init=False)
class PerRank:
    """One value for each rank: as an argument, what each rank is given; from the oracle, what each should return."""

    values: tuple[Any, ...]

    def __init__(self, values: Sequence[Any]) -> None:
        object.__setattr__(self, "values", tuple(values))


def on_rank(value: Any, rank: int) -> Any:
    """What rank `rank` has of a value that may be `PerRank`."""
    return value.values[rank] if isinstance(value, PerRank) else value


@dataclass(frozen=True)
class Case:
    """One call: its arguments, what came back and what should have. `got` is None where nothing usable came back.

    With several ranks `got` and `expected` are lists, one value a rank, and `size` also holds the counters.
    """

    args: tuple[Any, ...]
    got: Any
    expected: Any
    size: Size


@dataclass(frozen=True)
class Hint:
    """An idea for a wrong result: shown when `when(case)` is true. Gives the idea, never the code."""

    when: Callable[[Case], bool]
    text: str


@dataclass(frozen=True)
class Work:
    """The least that any method must do: `flops` floating-point operations of the textbook algorithm, `bytes` of compulsory
    traffic (each input read once, each output written once)."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Exercise:
    """A function that the student writes; its name is the key of the exercise.

    sample     (rng, size) → arguments: a tuple of NumPy arrays, ints, floats or strings; fresh random values on every call
    oracle     (*arguments) → the expected array, or a tuple of arrays; runs in the oracle process, may import a framework
    sizes      public sizes, small first: the desk checks these, and a failure on one of them may show numbers
    hidden     further sizes for grading; a failure shows the size but no values
    baselines  name → self-contained function (imports inside) with the student's signature; named by targets in `course.yml`
    tolerance  dtype → largest |got − expected| allowed, as a multiple of the largest |expected|
    uses       earlier exercises and given cells, in the order in which they run before the exercise
    view       the answer must be a view into an argument: offset, shape and strides are checked, nothing may be copied
    accepts    Case → True for a result that is right although it differs from the oracle's: where several results are right.
               Only asked about results with the oracle's shapes and dtypes; not for ranks. A sentence instead of True says why not
    tries      how many inputs a wrong result may be tried again on: training, passed at the first of at most so many seeds
    draw       Case → matplotlib Figure: what is read, what is written; shown before the answer is right
    hints      tried in order on the first wrong public case; the first that fits is shown
    work       size → Work, for the roofline
    seconds    limit for one call (wall time)
    preload    modules that a worker has imported before it is started, forked from a warm parent: ("tensorflow", "keras")
    forbids    libraries whose code may not be loaded by an answer; a framework's own kernel is not the student's
    timing     "cpu": CPU accounting of the whole jail, one thread; "wall": wall time, all cores; "gpu": the function gets and returns
               Keras tensors, on a GPU where one is; wall time with the copy of its result to the host, so keep results small

    With several ranks (their number is `size["ranks"]`; arguments and the oracle's result may be `PerRank`, anything else is the
    same on every rank; the oracle is still called once, with the arguments as they were sampled):

    world      "simulated": called as f(comm, *arguments) on ranks that only reach each other through the referee;
               "horovod": called as f(*arguments) on ranks in one jail, `hvd.init()` done, timed by the clock on the wall
    network    size → Topology, for a simulated world; default: every pair directly, 5 µs a message and 1 ns a byte
    counters   size → the most that is allowed, by name: those of `Network.counters()`, or "loopback_bytes" with Horovod
    """

    sample: Callable[[np.random.Generator, Size], tuple[Any, ...]]
    oracle: Callable[..., Any]
    sizes: Sequence[Size]
    hidden: Sequence[Size] = ()
    baselines: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    tolerance: Mapping[str, float] = field(default_factory=lambda: {"float32": 1e-5, "float64": 1e-12})
    uses: Sequence[str] = ()
    view: bool = False
    accepts: Callable[[Case], bool | str] | None = None
    tries: int = 1
    draw: Callable[[Case], Any] | None = None
    hints: Sequence[Hint] = ()
    work: Callable[[Size], Work] | None = None
    seconds: float = 10.0
    preload: Sequence[str] = ()
    forbids: Sequence[str] = ("tensorflow", "torch", "jaxlib", "onnxruntime")
    timing: str = "cpu"
    world: str = ""
    network: Callable[[Size], Topology] | None = None
    counters: Callable[[Size], Mapping[str, float]] | None = None

    def __post_init__(self) -> None:
        if self.world == "horovod":
            object.__setattr__(self, "timing", "wall")

    def baseline_source(self, name: str) -> str:
        """Source of a baseline, to be sent to a worker like a student's answer."""
        return textwrap.dedent(inspect.getsource(self.baselines[name]))


@dataclass(frozen=True)
class Prediction:
    """A number that the student writes down before measuring it.

    truth    (verdicts of the exercises in `uses`) → the value, or None where it could not be measured here
    unit     written behind the number
    uses     exercises whose measurements the truth is taken from
    explain  (predicted, truth) → one sentence that says where the difference comes from
    """

    truth: Callable[[Mapping[str, Any]], float | None]
    unit: str = ""
    uses: Sequence[str] = ()
    explain: Callable[[float, float], str] | None = None


def speedup(exercise: str) -> Callable[[Mapping[str, Any]], float | None]:
    """The `truth` of a prediction: how many times as fast as the given version the reader's own `exercise` was.

    It is None where nothing was measured: the exercise is open or wrong, or this machine cannot measure.
    """
    def truth(verdicts: Mapping[str, Any]) -> float | None:
        verdict = verdicts.get(exercise)
        return next((m.ratio for m in verdict.measured if m.target == "speedup"), None) if verdict is not None else None
    return truth


@functools.cache
def clothes() -> tuple[np.ndarray, ...]:
    """The embedded Fashion-MNIST: training pictures (10000, 28, 28) uint8 and labels (10000,) int64, test pictures and labels."""
    from hpml import data

    found = data.load("fashion-mnist-mini")
    return found.x_train[..., 0], found.y_train, found.x_test[..., 0], found.y_test


def perturbed(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pictures (N, H, W) uint8 as (N, H, W, 1) float32, 0 to 1: each shifted by up to one pixel each way, and half of them mirrored."""
    n, height, width = pictures.shape
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(0, 3, (2, n, 1, 1))
    across = np.arange(width)
    rows = np.arange(height)[None, :, None] + down
    columns = np.where(rng.random((n, 1, 1)) < 0.5, across, width - 1 - across) + right
    moved = padded[np.arange(n)[:, None, None], rows, columns]
    return moved[..., None].astype(np.float32) / np.float32(255)


def load_module(lab: Lab) -> ModuleType:
    """Import `exercises.py` of a lab. Raises CourseError where it is missing (a student's distribution has none)."""
    path = lab.folder / "exercises.py"
    if not path.is_file():
        raise CourseError(f"{path} is not here: this distribution has no trusted side, so it cannot check by itself")
    spec = importlib.util.spec_from_file_location("hpml_exercises_" + lab.lab.replace("-", "_"), path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lab_hash(lab: Lab) -> str:
    """SHA-256 of everything about a lab that a verdict depends on: its declarations, its text, its entry in the manifest."""
    files = [lab.folder / "exercises.py", lab.folder / "lab.py"]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files) + lab.model_dump_json().encode()).hexdigest()


def load(lab: Lab) -> dict[str, Exercise | Prediction]:
    """The declarations of a lab, checked against `course.yml`."""
    declared: dict[str, Exercise | Prediction] = load_module(lab).EXERCISES
    wanted = {name: e for name, e in lab.exercises.items() if e.kind != "manual"}
    for name in wanted.keys() ^ declared.keys():
        side = "course.yml" if name in wanted else f"{lab.lab}/exercises.py"
        raise CourseError(f"{lab.lab}: {name!r} is declared only in {side}")
    for name, entry in wanted.items():
        exercise = declared[name]
        if isinstance(exercise, Prediction) != (entry.kind == "predict"):
            raise CourseError(f"{lab.lab}: {name!r} is `kind: {entry.kind}` in course.yml, but not in exercises.py")
        for target in entry.targets.values():
            if isinstance(exercise, Exercise) and target.versus not in exercise.baselines:
                raise CourseError(f"{lab.lab}: {name!r} has no baseline called {target.versus!r}")
        if (entry.targets or entry.peak_mb) and not entry.shape:
            raise CourseError(f"{lab.lab}: {name!r} is measured, so course.yml must state its `shape`")
        if isinstance(exercise, Exercise) and (problem := _world_problem(exercise, entry)):
            raise CourseError(f"{lab.lab}: {name!r} {problem}")
    return declared


def _world_problem(exercise: Exercise, entry: Entry) -> str | None:
    """What does not fit together in an exercise on several ranks, or in one that is not."""
    if exercise.world not in ("", "simulated", "horovod"):
        return f"has world={exercise.world!r}; there are 'simulated' and 'horovod'"
    if entry.efficiency and exercise.world != "horovod":
        return "has an `efficiency`, so it needs world='horovod' in exercises.py"
    if not exercise.world:
        return "has counters or a network, so it needs a world" if exercise.counters or exercise.network else None
    for size in (*exercise.sizes, *exercise.hidden, *([entry.shape] if entry.shape else [])):
        if not 1 <= size.get("ranks", 0) <= MOST_RANKS:
            return f"runs on several ranks, so each of its sizes needs `ranks`, 1 to {MOST_RANKS}; {dict(size)} has none of that"
    if exercise.view or entry.peak_mb or (exercise.world == "simulated" and entry.targets):
        return "runs on several ranks, where views and peak memory are not checked, and simulated ranks are counted, not timed"
    if exercise.world == "horovod" and exercise.network:
        return "has a network, which only simulated ranks have"
    return None
