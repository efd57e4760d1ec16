"""The manifest: `course.yml` → validated models. Every other module asks this one; none parses the YAML itself."""

from __future__ import annotations

import datetime
import difflib
import functools
import os
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

ROOT = Path(os.environ.get("HPML_ROOT") or Path(__file__).resolve().parent.parent)


class CourseError(Exception):
    """Something the author of the course must mend; the message says where and how."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Levels(Strict):
    """No credit up to the ratio `start`, full credit from `full`, logarithmic in between."""

    start: float = Field(gt=0)
    full: float = Field(gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Levels:
        if self.full <= self.start:
            raise ValueError(f"full ({self.full:g}) must be larger than start ({self.start:g})")
        return self


class Target(Levels):
    """A measured ratio, and the baseline that it is measured against. Other levels may hold for another class of machine."""

    versus: str
    gpu: Levels | None = None

    def on(self, machine_class: str) -> Target:
        """The target with the levels of a machine class, `cpu` or `gpu`."""
        if machine_class == "gpu" and self.gpu:
            return self.model_copy(update={"start": self.gpu.start, "full": self.gpu.full, "gpu": None})
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, raw: Any) -> Any:
        """`over: six_loops` and `of: framework_conv` read well in the manifest; both name the baseline."""
        if isinstance(raw, dict):
            raw = dict(raw)
            for word in ("over", "of"):
                if word in raw:
                    raw["versus"] = raw.pop(word)
        return raw


class Exercise(Strict):
    """What an exercise is worth. What it *does* is declared in the lab's `exercises.py`."""

    kind: Literal["code", "predict", "manual"] = "code"
    points: float = Field(gt=0)
    correct: float | None = None            # points for a right answer, however slow; default: half of them
    shape: dict[str, int] | None = None     # the one stated shape that is measured
    speedup: Target | None = None           # over a slow baseline
    fraction: Target | None = None          # of a fast baseline
    efficiency: Target | None = None        # of as many copies that do not talk to each other: what this machine allows N ranks
    peak_mb: float | None = Field(default=None, ge=64)   # budget for the peak memory of a call, MB (10^6 bytes)
    within: float | None = None             # predict: relative error for full credit, twice that for half
    rubric: tuple[str, ...] = ()            # manual: what earns the points

    @model_validator(mode="after")
    def _consistent(self) -> Exercise:
        if self.kind == "manual" and not self.rubric:
            raise ValueError("a manually graded exercise needs a rubric")
        if self.kind == "predict" and self.within is None:
            raise ValueError("a prediction needs `within`, the relative error for full credit")
        if self.correct is not None and not (self.targets and 0 <= self.correct <= self.points):
            raise ValueError("`correct` lies between 0 and `points`, and needs a `speedup`, a `fraction` or an `efficiency`")
        return self

    @property
    def targets(self) -> dict[str, Target]:
        return {name: t for name in ("speedup", "fraction", "efficiency") if (t := getattr(self, name)) is not None}

    @property
    def correct_points(self) -> float:
        """Points for a right answer before speed is looked at; the targets share the rest equally."""
        if not self.targets:
            return self.points
        return self.points / 2 if self.correct is None else self.correct


class Lab(Strict):
    lab: str = Field(pattern=r"^\d\d-[a-z0-9-]+$")
    title: str
    part: int
    status: Literal["ready", "planned"]
    minutes: int = Field(gt=0)
    needs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    files: tuple[str, ...] = ()             # of the lab's folder, to lie beside the notebook: scripts that it runs
    due: datetime.datetime | None = Field(default=None, exclude=True)   # UTC where no offset is said; no verdict depends on it
    exercises: dict[str, Exercise] = Field(default_factory=dict)

    @field_validator("due", mode="before")
    @classmethod
    def _with_time(cls, said: Any) -> Any:
        if isinstance(said, datetime.date) and not isinstance(said, datetime.datetime):
            raise ValueError(f"say the time of day as well, such as {said} 23:59")
        return said

    @model_validator(mode="after")
    def _written(self) -> Lab:
        if self.status == "ready" and not self.exercises:
            raise ValueError(f"lab {self.lab} is ready but has no exercises")
        return self

    @property
    def folder(self) -> Path:
        return ROOT / "labs" / self.lab

    @property
    def points(self) -> float:
        return sum(e.points for e in self.exercises.values())


class Engine(Strict):
    """Where `hpml grade --engine slurm` and a hub's queue for checks run, as Slurm's sbatch understands it."""

    partition: str | None = None
    account: str | None = None
    nodes: int = Field(default=1, gt=0)
    cores: int = Field(default=4, gt=0)                 # of each node, and the jobs that it judges side by side
    memory: str = "16 GB"                               # of each node; 3 GB for each core are enough for a framework
    gpus: int = Field(default=0, ge=0)                  # of each node
    time_limit: str = "04:00:00"
    interface: str | None = None                        # the network between the nodes, such as ib0
    directives: tuple[str, ...] = ()                    # further options of sbatch
    check_minutes: float = Field(default=30, gt=0)      # how long a hub's `check(…, where="gpu")` waits for its verdict


class Course(Strict):
    title: str
    jail: Literal["auto", "bubblewrap", "none"] = "auto"
    engine: Engine = Engine()
    parts: dict[int, str]
    labs: tuple[Lab, ...]

    @model_validator(mode="after")
    def _references(self) -> Course:
        names = [lab.lab for lab in self.labs]
        for lab in self.labs:
            if names.count(lab.lab) > 1:
                raise ValueError(f"lab {lab.lab} is listed twice")
            if lab.part not in self.parts:
                raise ValueError(f"lab {lab.lab} is in part {lab.part}, which `parts` does not name")
            for need in lab.needs:
                if need not in names[: names.index(lab.lab)]:
                    raise ValueError(f"lab {lab.lab} needs {need}, which does not come before it"
                                     + nearest(need, names))
        return self

    def ready(self) -> tuple[Lab, ...]:
        """The labs that are written."""
        return tuple(lab for lab in self.labs if lab.status == "ready")

    def lab(self, name: str) -> Lab:
        """The lab called `name`; a number or a unique beginning will do. Raises CourseError otherwise."""
        names = [lab.lab for lab in self.labs]
        stem = Path(name).name.removesuffix(".ipynb")
        stem = stem.zfill(2) if stem.isdecimal() else stem
        found = [lab for lab in self.labs if lab.lab == stem] or [lab for lab in self.labs if lab.lab.startswith(stem)]
        if not stem or len(found) != 1:
            raise CourseError(f"no lab is called {name!r}{nearest(stem, names)}. Written: "
                              + ", ".join(lab.lab for lab in self.ready()))
        if found[0].status == "planned":
            raise CourseError(f"{found[0].lab} is planned, not written yet. Written: "
                              + ", ".join(lab.lab for lab in self.ready()))
        return found[0]


def nearest(word: str, among: list[str]) -> str:
    near = difflib.get_close_matches(word, among, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _line_of(node: yaml.Node | None, path: tuple[Any, ...]) -> int:
    """Line (from 1) of the deepest part of `path` that stands in the file."""
    line = 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            hit = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if hit is None:
                break
            line, node = hit[0].start_mark.line + 1, hit[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _duplicates(node: yaml.Node | None, file: str) -> None:
    """YAML silently keeps the last of two equal keys; a manifest must not."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise CourseError(f"{file}:{key.start_mark.line + 1}: the key {key.value!r} stands here a second time")
            seen.add(key.value)
            _duplicates(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _duplicates(value, file)


def _good_keys(path: tuple[Any, ...]) -> list[str]:
    """The keys allowed in the mapping at `path`."""
    models: dict[int, type[Strict]] = {0: Course, 2: Lab, 4: Exercise}
    if len(path) == 5:
        return ["over", "of", "start", "full", "gpu"]
    model = Engine if path[:1] == ("engine",) else models.get(len(path))
    return list(model.model_fields) if model else []


def parse(text: str, file: str = "course.yml") -> Course:
    """Validate the text of a manifest. Raises CourseError naming file, line, bad key and the nearest good one."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else 1
        raise CourseError(f"{file}:{line}: this is not YAML: {e.problem}") from None
    _duplicates(node, file)
    try:
        return Course.model_validate(yaml.safe_load(text))
    except ValidationError as e:
        lines = []
        for error in e.errors():
            path = error["loc"]
            where = f"{file}:{_line_of(node, path)}"
            if error["type"] == "extra_forbidden":
                key = str(path[-1])
                lines.append(f"{where}: unknown key {key!r}{nearest(key, _good_keys(path[:-1]))}")
            else:
                message = error["msg"].removeprefix("Value error, ")
                if not path and (named := re.match(r"lab (\S+) ", message)):      # a rule of the whole course, about one lab
                    row = next((n for n, t in enumerate(text.splitlines(), 1) if re.match(rf"\s*- lab:\s*{named[1]}\s*$", t)), 1)
                    where = f"{file}:{row}"
                dotted = ".".join(str(p) for p in path)
                lines.append(f"{where}: {dotted + ': ' if dotted else ''}{message}")
        raise CourseError("\n".join(lines)) from None


@functools.lru_cache(maxsize=1)
def load() -> Course:
    """The course of this checkout."""
    path = ROOT / "course.yml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CourseError(f"there is no {path}: run this in the folder of the course, or set HPML_ROOT to it") from None
    return parse(text, "course.yml")
