"""Cut fashion-mnist-mini.npz out of the full Fashion-MNIST: `python datasets/make_mini.py [--check]`.

The cut: the first 1,000 training and the first 200 test images of each class, dealt out in rounds: the first
of each class, then the second of each, and so on: any multiple of ten images from the start is balanced.
Nothing is random, and the archive carries no date, so the same full set gives the same bytes (with standard
zlib). `--check` writes nothing and fails if the file in the repository is another one.
Needs `hpml data fetch fashion-mnist` first.
"""

import argparse
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from hpml import data

TARGET = Path(__file__).with_name("fashion-mnist-mini.npz")
TRAIN, TEST = 1000, 200         # images of each class


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first `count` images of each class, in rounds; in a round, in the full set's order."""
    rounds = np.stack([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)], axis=1)
    return np.sort(rounds, axis=1).ravel()


def cut(full: data.Dataset) -> bytes:
    """The npz archive, as bytes."""
    train, test = first_of_each(full.y_train, TRAIN), first_of_each(full.y_test, TEST)
    arrays = {"x_train": full.x_train[train, ..., 0], "y_train": full.y_train[train].astype(np.uint8),
              "x_test": full.x_test[test, ..., 0], "y_test": full.y_test[test].astype(np.uint8)}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, 3
            out.writestr(member, content.getvalue(), compresslevel=9)
    return archive.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut fashion-mnist-mini.npz out of the full Fashion-MNIST.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs")
    check = parser.parse_args().check
    try:
        content = cut(data.load("fashion-mnist"))
    except data.DataError as e:
        print(e, file=sys.stderr)
        return 1
    if check:
        same = TARGET.is_file() and TARGET.read_bytes() == content
        print(f"{TARGET.name} is {'' if same else 'NOT '}what this script makes")
        return 0 if same else 1
    TARGET.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{TARGET.name}: for registry.yml: {{bytes: {len(content)}, sha256: {digest}}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
