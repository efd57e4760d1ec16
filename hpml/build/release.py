"""`hpml release`: the students' distribution: notebooks, decks, data and what a notebook calls; no solutions, no trusted side.

Left out: labs/ (sources, oracles, wrong answers), solutions/, tests/, keys, the rubrics in course.yml, and the parts of the
package that only the trusted side runs. Notebooks and decks are built anew, so a release never holds an old one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from hpml import build, course
from hpml.course import CourseError, Lab

MARK = ".hpml-release"                  # makes a folder known as a release, which a newer one may replace
FILES = (".gitignore", "LICENSE", "LICENSE-text", "course", "environment.yml", "postBuild", "pyproject.toml", "requirements.lock")
TRUSTED = ("build", "grade", "hub", "site", "engine.py", "exercise.py", "source.py", "wrong.py")      # in hpml/
BENCHES = ("distributed/scaling", "distributed/bench.py", "distributed/allreduce.py")  # they hold what labs 10 and 11 ask for
REFEREE = ("__init__.py", "cells.py", "client.py", "jail.py", "protocol.py", "queue.py")   # all that a notebook needs of hpml/referee/
SUFFIXES = (".py", ".pyi", ".typed", ".js", ".css", ".html", ".json", ".yml", ".svg")

README = """# {title}

{count} with exercises that are checked for the right answer *and* for speed, on your own machine.

```
./course lab
```

The first start makes the environment: a few minutes, about 3 GB of disk, Linux on x86-64 (or WSL). `./course doctor` says what is
missing and which command gets it. After that everything works without a network.

| lab | | minutes | points | slides |
|---|---|---:|---:|---|
{rows}

Open a notebook, write in the cells that say so, and run the cell with `check(…)` below them. Locked cells cannot be changed;
grading restores them. Where this machine has no referee, `check` says so, and the notebook is checked after you submit it. Hand in
the notebook itself, under its own name.

Text: see `LICENSE-text`. Code: see `LICENSE`.
"""


def manifest(labs: Iterable[Lab]) -> str:
    """`course.yml` for students: only these labs are ready, and rubrics, which tell the answers, are not in it."""
    names = {lab.lab for lab in labs}
    raw: dict[str, Any] = yaml.safe_load((course.ROOT / "course.yml").read_text(encoding="utf-8"))
    raw.pop("engine", None)                 # where the class is graded
    for lab in raw["labs"]:
        if lab["lab"] not in names:
            lab["status"] = "planned"
            lab.pop("exercises", None)
        for exercise in lab.get("exercises", {}).values():
            if exercise.get("rubric"):
                exercise["rubric"] = ["read and graded by a person"]
    text = "# Made by `hpml release`.\n" + yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=120)
    course.parse(text, "the release's course.yml")
    return text


def readme(labs: list[Lab]) -> str:
    """The first page that students see."""
    rows = [f"| [{lab.lab}](notebooks/{lab.lab}/{lab.lab}.ipynb) | {lab.title} | {lab.minutes} | {lab.points:g} | "
            f"[slides](slides/{lab.lab}.html) |" for lab in labs]
    count = "One lab" if len(labs) == 1 else f"{len(labs)} labs"
    return README.format(title=course.load().title, count=count, rows="\n".join(rows))


def package(root: Path) -> Iterator[Path]:
    """Files of hpml/ that students get, relative to `root`."""
    for path in sorted((root / "hpml").rglob("*")):
        inside = path.relative_to(root / "hpml").parts
        if not path.is_file() or path.suffix not in SUFFIXES or "__pycache__" in inside or inside[0] in TRUSTED:
            continue
        if "/".join(inside).startswith(BENCHES):
            continue
        if inside[0] != "referee" or inside[1] in REFEREE:
            yield path.relative_to(root)


def write(labs: list[Lab], to: Path) -> None:
    """Write the distribution into the empty folder `to`."""
    root = course.ROOT
    made = {name: content for name, content in build.render(labs).items() if not name.startswith("solutions/")}
    made["course.yml"] = manifest(labs).encode()
    made["README.md"] = readme(labs).encode()
    made[MARK] = "".join(f"{lab.lab}\n" for lab in labs).encode()
    for name, content in made.items():
        build.write(to / name, content)
    data = [p.relative_to(root) for p in sorted((root / "datasets").rglob("*")) if p.is_file() and p.suffix in (".npz", ".yml", ".md")]
    theme = [p.relative_to(root) for p in sorted((root / "slides" / "theme").rglob("*"))
             if p.is_file() and p.suffix not in (".j2", ".json")]
    for path in (*map(Path, FILES), *package(root), *data, *theme):
        if not (root / path).is_file():
            raise CourseError(f"{path} is not here, and a release needs it: is {root} a whole checkout?")
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, to / path)             # the mode, too: `course` can be run


@contextlib.contextmanager
def instead_of(to: Path, force: bool, mark: str = MARK, what: str = "release") -> Iterator[Path]:
    """An empty folder that becomes `to` when all went well, and leaves nothing behind otherwise.

    mark  the file that makes a folder known as an earlier one of `what`

    An earlier one is replaced with `force`; its `.git` stays, so that a release can be a repository that nbgitpuller reads.
    Raises CourseError where something else would be overwritten.
    """
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise CourseError(f"{to} is not a folder; name a new one with --to")
    if to.is_dir() and any(to.iterdir()):
        if not (to / mark).is_file():
            raise CourseError(f"{to} is not empty and no {what} either; name a new folder with --to")
        if not force:
            raise CourseError(f"{to} holds an earlier {what}; replace it with --force, or name a new folder with --to")
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as folder:
        new, old = Path(folder) / "new", Path(folder) / "old"
        new.mkdir()
        yield new
        if to.is_dir():
            to.rename(old)
            try:
                if (old / ".git").exists():
                    (old / ".git").rename(new / ".git")
                new.rename(to)
            except OSError:
                if (new / ".git").exists():
                    (new / ".git").rename(old / ".git")
                old.rename(to)
                raise
        else:
            new.rename(to)


def main(argv: list[str]) -> int:
    """Run `hpml release` with these arguments. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="hpml release", description="Make the students' distribution: no solutions, no trusted side.",
                                     epilog="Example: hpml release 04-conv-gemm --to ~/release")
    parser.add_argument("labs", nargs="*", metavar="LAB", help="only these labs; default: all that are written")
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the folder to make")
    parser.add_argument("--force", action="store_true", help="replace an earlier release in DIR (its .git stays)")
    options = parser.parse_args(argv)
    to = Path(os.path.abspath(options.to.expanduser()))
    try:
        chosen = {lab.lab for lab in map(course.load().lab, options.labs)}
        labs = [lab for lab in course.load().ready() if lab.lab in chosen or not chosen]
        with instead_of(to, options.force) as folder:
            write(labs, folder)
    except CourseError as e:
        print(f"hpml release: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"hpml release: {e.filename or to}: {e.strerror}. Nothing was changed.", file=sys.stderr)
        return 1
    print(f"{to}: {', '.join(lab.lab for lab in labs)}, without solutions. Students start it with: ./course lab")
    return 0
