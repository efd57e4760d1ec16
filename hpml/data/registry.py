"""The registry of data sets: `datasets/registry.yml` → validated models, and whether files are as it says."""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ROOT = Path(os.environ.get("HPML_ROOT") or Path(__file__).resolve().parents[2])
FOLDER = ROOT / "datasets"          # the registry and the embedded sets

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]     # a file's or a set's own name
Member = Annotated[str, Field(pattern=r"^[\w-]+([./][\w-]+)*$")]          # a path in a package, no ".."
Text = Annotated[str, Field(min_length=1)]

LAYOUTS = {
    "idx": [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")],
    "cifar": [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"],
}


class DataError(Exception):
    """A data set cannot be used as asked; the message says why and what to do next."""

    def _render_traceback_(self) -> list[str]:
        """IPython calls this: in a notebook the message says everything, the stack nothing."""
        return [f"DataError: {self}"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(Strict):
    """What a file must be: its size in bytes and the sha256 of its content."""

    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Source(Strict):
    """One place to fetch a set from: a publisher's address, or a package of a known client, by name."""

    http: str | None = Field(default=None, pattern=r"^https?://[^/]+(/.*)?$")
    debian: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9+.-]+$")
    npm: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: Text | None = None
    bytes: int | None = Field(default=None, gt=0)      # what goes over the network, where it is known
    unpack: Literal["none", "gzip", "cifar-tar", "cifar-sheets"] = "none"
    members: dict[Member, File | None] = Field(min_length=1)     # None: checked after unpacking

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        if sum(place is not None for place in (self.http, self.debian, self.npm)) != 1:
            raise ValueError("a source names exactly one of http, debian, npm")
        if self.http is None and (self.version is None or None in self.members.values()):
            raise ValueError("a package needs its version, and the size and sha256 of each of its members")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in ("http", "debian", "npm") if getattr(self, kind) is not None)

    def __str__(self) -> str:
        return self.http or f"{self.kind} package {getattr(self, self.kind)} {self.version}"


class Entry(Strict):
    """One data set: images of one shape (height, width, channels) in named classes."""

    title: Text
    licence: Text
    publisher: Text
    page: str = Field(pattern=r"^https?://")
    note: Text | None = None
    layout: Literal["idx", "cifar", "npz"]
    shape: tuple[int, int, int]
    train: int = Field(gt=0)
    test: int = Field(gt=0)
    classes: tuple[Text, ...] = Field(min_length=2)
    files: dict[Name, File] = Field(min_length=1)      # unpacked, as they are kept and loaded
    embedded: bool = False                             # in the repository, beside the registry
    sources: tuple[Source, ...] = ()                   # in the order in which they are tried

    @model_validator(mode="after")
    def _consistent(self) -> Entry:
        if self.embedded == bool(self.sources):
            raise ValueError("a set is either embedded or has sources")
        needed = LAYOUTS.get(self.layout)
        if needed is not None and sorted(self.files) != sorted(needed):
            raise ValueError(f"layout {self.layout} has exactly the files {', '.join(needed)}")
        if self.layout == "npz" and len(self.files) != 1:
            raise ValueError("layout npz has exactly one file")
        return self


class Registry(Strict):
    datasets: dict[Name, Entry] = Field(min_length=1)

    def find(self, name: str) -> Entry:
        """The entry called `name`. Raises DataError with the nearest name otherwise."""
        if name not in self.datasets:
            raise DataError(f"no data set is called {name!r}{nearest(name, self.datasets)}. "
                            f"There are: {', '.join(self.datasets)}.")
        return self.datasets[name]


def nearest(word: str, among: Any) -> str:
    near = difflib.get_close_matches(word, list(among), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def parse(text: str, file: str = "registry.yml") -> Registry:
    """Validate the text of a registry. Raises DataError naming place, bad key and the nearest good one."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise DataError(f"{file} is not YAML: {e}") from None
    try:
        return Registry.model_validate(raw)
    except ValidationError as e:
        good = {key for model in (Registry, Entry, Source, File) for key in model.model_fields}
        lines = []
        for error in e.errors():
            place = ".".join(str(step) for step in error["loc"])
            if error["type"] == "extra_forbidden":
                key = str(error["loc"][-1])
                lines.append(f"{file}: {place}: unknown key {key!r}{nearest(key, good)}")
            else:
                lines.append(f"{file}: {place}: {error['msg'].removeprefix('Value error, ')}")
        raise DataError("\n".join(lines)) from None


@functools.lru_cache(maxsize=1)
def catalogue() -> Registry:
    """The registry of this course. Raises DataError if it is missing or invalid."""
    path = FOLDER / "registry.yml"
    if not path.is_file():
        raise DataError(f"there is no {path}: run this in the folder of the course, or set HPML_ROOT to it.")
    return parse(path.read_text(encoding="utf-8"), "datasets/registry.yml")


def home(name: str) -> Path:
    """The folder with the files of `name`: the repository's for an embedded set, else below `$HPML_DATA`."""
    if catalogue().find(name).embedded:
        return FOLDER
    cache = os.environ.get("HPML_DATA")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache" / "hpml" / "data") / name


def problem(path: Path, file: File) -> str | None:
    """What is wrong with the file at `path`: one word or two, or None if size and sha256 are right."""
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != file.bytes:
        return f"truncated ({size} of {file.bytes} bytes)" if size < file.bytes else "too long"
    with path.open("rb") as f:
        right = hashlib.file_digest(f, "sha256").hexdigest() == file.sha256
    return None if right else "damaged (wrong sha256)"


def problems(name: str) -> dict[str, str]:
    """File → what is wrong with it, for each file of `name` that is not exactly as the registry says."""
    folder = home(name)
    found = {file: problem(folder / file, spec) for file, spec in catalogue().find(name).files.items()}
    return {file: what for file, what in found.items() if what is not None}
