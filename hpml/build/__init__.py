"""`hpml build`: labs/*/lab.py → notebooks, solutions and decks; one way, and byte-identical on every run.

    labs/04-conv-gemm/lab.py → notebooks/04-conv-gemm/04-conv-gemm.ipynb   the student's; nbgrader's release folder
                               solutions/04-conv-gemm/04-conv-gemm.ipynb   solved; nbgrader's source folder
                               slides/04-conv-gemm.html                    the deck

The folder is nbgrader's assignment, so `nbgrader generate_assignment` makes the very same student's notebook, and nbgitpuller and
Binder find it with its figures beside it. (Figures are files: JupyterLab shows no SVG that is attached or embedded as data.)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from hpml import course
from hpml.course import CourseError, Lab

Files = dict[str, bytes]                # path from the root of the course, with "/" → content


def render(labs: Iterable[Lab]) -> Files:
    """Every file that these labs become. Raises CourseError, naming file and line, if a source is not as it should be."""
    from hpml.build import deck, notebook

    made: Files = {}
    for lab in labs:
        found = notebook.read(lab)
        solved = notebook.solution(lab, found)
        made[f"solutions/{lab.lab}/{lab.lab}.ipynb"] = notebook.text(solved).encode()
        made[f"notebooks/{lab.lab}/{lab.lab}.ipynb"] = notebook.text(notebook.student(solved)).encode()
        made[f"slides/{lab.lab}.html"] = deck.render(lab, found).encode()
        for name in (*notebook.figures(notebook.in_notebook(found)), *lab.files):
            for folder in ("notebooks", "solutions"):
                made[f"{folder}/{lab.lab}/{name}"] = notebook.beside(lab, name)
    return made


def there(labs: Iterable[Lab] | None) -> set[str]:
    """Files where generated ones belong, of these labs or (None) of all; hidden ones and caches do not count."""
    root = course.ROOT
    if labs is None:
        places = [*root.glob("notebooks/**/*"), *root.glob("solutions/**/*"), *root.glob("slides/*.html")]
    else:
        places = [p for lab in labs for p in (*root.glob(f"notebooks/{lab.lab}/**/*"), *root.glob(f"solutions/{lab.lab}/**/*"),
                                              root / "slides" / f"{lab.lab}.html")]
    files = (p.relative_to(root) for p in places if p.is_file())
    return {f.as_posix() for f in files if not any(part.startswith(".") or part == "__pycache__" for part in f.parts)}


def compare(made: Files, present: set[str]) -> dict[str, str]:
    """path → what is wrong with it: "missing", "differs" or "extra"."""
    found = {name: "missing" if name not in present else "differs" for name, content in made.items()
             if name not in present or (course.ROOT / name).read_bytes() != content}
    return dict(sorted((found | dict.fromkeys(present - made.keys(), "extra")).items()))


def _strangers() -> None:
    """A folder in labs/ that the manifest does not know is a typo in one of the two."""
    names = [lab.lab for lab in course.load().labs]
    for folder in sorted(course.ROOT.glob("labs/*/lab.py")):
        if folder.parent.name not in names:
            raise CourseError(f"labs/{folder.parent.name} is not in course.yml{course.nearest(folder.parent.name, names)}")


def write(path: Path, content: bytes) -> None:
    """Write all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _protect(made: Files, wrong: dict[str, str]) -> None:
    """A student's notebook with answers in it is not ours to overwrite."""
    from hpml.build import notebook

    for name, what in wrong.items():
        if what != "differs" or not name.startswith("notebooks/") or not name.endswith(".ipynb"):
            continue
        path = course.ROOT / name
        aside = f"Move it away (mv {name} ~), or overwrite it with: hpml build --force"
        try:
            answers = notebook.answered(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CourseError(f"{name} cannot be read as a notebook, so nobody can tell what is in it. {aside}") from None
        if answers:
            raise CourseError(f"{name} has answers in it ({', '.join(answers)}). {aside}")


def main(argv: list[str]) -> int:
    """Run `hpml build` with these arguments. Returns 0, or with --check 1 if a file is not what the labs make."""
    parser = argparse.ArgumentParser(prog="hpml build", description="Make notebooks, solutions and decks from labs/*/lab.py.",
                                     epilog="Example: hpml build --check")
    parser.add_argument("labs", nargs="*", metavar="LAB", help="only these labs; default: all that are written")
    parser.add_argument("--check", action="store_true", help="write nothing; name every file that is not what the labs make")
    parser.add_argument("--force", action="store_true", help="overwrite notebooks even if somebody has answered in them")
    options = parser.parse_args(argv)
    try:
        chosen = [course.load().lab(name) for name in options.labs]
        _strangers()
        made = render(chosen or course.load().ready())
        wrong = compare(made, there(chosen or None))
        if options.check:
            return _report(wrong, len(made))
        if not options.force:
            _protect(made, wrong)
        for name, what in wrong.items():
            if what != "extra":
                write(course.ROOT / name, made[name])
            print(f"{name}: no lab makes this file; remove it" if what == "extra" else f"{name}: written")
    except CourseError as e:
        print(f"hpml build: {e}", file=sys.stderr)
        return 1
    print(f"{len(made)} files are what the labs make.")
    return 0


def _report(wrong: dict[str, str], count: int) -> int:
    if not wrong:
        print(f"{count} files are what the labs make.")
        return 0
    words = {"missing": "is missing", "differs": "is not what its lab makes", "extra": "is made by no lab: remove it"}
    for name, what in wrong.items():
        print(f"{name} {words[what]}", file=sys.stderr)
    if set(wrong.values()) != {"extra"}:
        print("Run: ./course build", file=sys.stderr)
    return 1
