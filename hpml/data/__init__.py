"""Data sets of the course: real images, checked by sha256 whenever they are loaded.

    data.load("fashion-mnist-mini")         embedded, no network
    data.fetch("cifar10")                   once, into $HPML_DATA or ~/.cache/hpml/data

Licences, sources and checksums stand in `datasets/registry.yml`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpml.data.cli import main
from hpml.data.fetching import fetch
from hpml.data.formats import READERS
from hpml.data.registry import DataError, catalogue, home

__all__ = ["DataError", "Dataset", "fetch", "load", "main"]


@dataclass(frozen=True)
class Dataset:
    """Images and labels, in the order of the files. The arrays are C-contiguous and yours to change.


    x_train : (N, H, W, C) uint8, 0 to 255    y_train : (N,) int64, index into `classes`
    x_test  : (M, H, W, C) uint8              y_test  : (M,) int64
    """

    name: str
    x_train: NDArray[np.uint8] = field(repr=False)
    y_train: NDArray[np.int64] = field(repr=False)
    x_test: NDArray[np.uint8] = field(repr=False)
    y_test: NDArray[np.int64] = field(repr=False)
    classes: tuple[str, ...]


def load(name: str) -> Dataset:
    """The data set `name`. Every byte is checked before it is used; nothing is fetched.

    Raises DataError if the set is unknown, not fetched yet, or not exactly what the registry says.
    """
    entry, folder = catalogue().find(name), home(name)
    mend = f"run `hpml data fetch {name}`"
    if entry.embedded:
        mend = "restore datasets/ from your copy of the course"
    files = {}
    for file, spec in entry.files.items():
        try:
            files[file] = (folder / file).read_bytes()
        except FileNotFoundError:
            minis = ", ".join(n for n, e in catalogue().datasets.items() if e.embedded)
            raise DataError(f"{name} is not on this machine: {mend} ({minis} needs no network).") from None
        if len(files[file]) != spec.bytes or hashlib.sha256(files[file]).hexdigest() != spec.sha256:
            raise DataError(f"{folder / file} is truncated or damaged and was not used: {mend}.")
    x, y, u, v = READERS[entry.layout](files)
    if (x.shape, u.shape) != ((entry.train, *entry.shape), (entry.test, *entry.shape)) \
            or (len(y), len(v)) != (entry.train, entry.test) or max(y.max(), v.max()) >= len(entry.classes):
        raise DataError(f"{name} does not have the shape that datasets/registry.yml says: correct its entry.")
    x, u = (np.require(images, requirements=["C", "W", "O"]) for images in (x, u))
    return Dataset(name, x, y.astype(np.int64), u, v.astype(np.int64), entry.classes)
