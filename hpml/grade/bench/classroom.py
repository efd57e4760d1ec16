"""The class of `hpml bench grading`: two labs, one made-up student after another, as course folders for both graders.

    PLACE/root/      the course that `hpml` takes for its own (HPML_ROOT): the two labs, shortened
    PLACE/ours/      the course folder for `hpml grade`
    PLACE/stock/     the same class for stock nbgrader: the same texts and answers, but the checks are cells of asserts
    PLACE/class.json who is in it

`main` makes the course folders, in a process of its own with HPML_ROOT set to PLACE/root.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from hpml import course, source, wrong
from hpml.build import notebook as made
from hpml.build import write
from hpml.course import Lab
from hpml.grade.bench import frameworks, stock
from hpml.grade.demo import _answer

Variant = Literal["checks", "whole", "measured"]
CONV = "04-conv-gemm"
LABS = (CONV, frameworks.NAME)
KINDS = ("solved", "wrong", "empty", "looping", "crashing")
MEASURED = ("shape", "speedup", "fraction", "efficiency", "peak_mb", "correct")       # of an exercise in course.yml
WRONG = ("conv_gemm_flipped_kernel", "im2col_off_by_one", "conv_gradients_dx_without_flip", "conv_gemm_kernel_layout",
         "im2col_swapped_strides", "conv_gradients_mean_over_batch", "conv_gemm_float64", "im2col_copy", "conv_gradients_other_order",
         "conv_gemm_order_of_columns")        # in labs/04-conv-gemm/wrong: what asserts on results can notice
LAST = {CONV: ("conv_tiled", "conv_gradients"), frameworks.NAME: ("step", "cross_entropy", "dense")}     # nothing builds on these
CRASHES = ("import os\n    os._exit(3)", "import os\n    os.abort()", "import ctypes\n    ctypes.string_at(0)")


@dataclass(frozen=True)
class Student:
    """A made-up student. `broken`: the exercise that is wrong, never ends or ends the process."""

    name: str
    kind: str
    lab: str
    broken: str = ""


def derive(root: Path, variant: Variant, timeout: float) -> None:
    """The two labs as a course of their own. Without what a single kernel cannot check (measurements, texts that a person reads);
    with `checks` also without all cells that are neither answers nor checks; every call may take `timeout` seconds."""
    raw = yaml.safe_load((course.ROOT / "course.yml").read_text(encoding="utf-8"))
    entry = next(lab for lab in raw["labs"] if lab["lab"] == CONV)
    dropped = {n for n, e in entry["exercises"].items() if e.get("kind") == "manual" or (variant != "measured" and n == "peak_fraction")}
    entry["exercises"] = {name: {key: value for key, value in e.items() if variant == "measured" or key not in MEASURED}
                          for name, e in entry["exercises"].items() if name not in dropped}
    entry.pop("needs", None)
    entry["part"] = 1
    manifest = {"title": "Two labs", "jail": raw.get("jail", "auto"), "parts": {1: "Both"}, "labs": [entry, frameworks.ENTRY]}
    write(root / "course.yml", yaml.safe_dump(manifest, sort_keys=False).encode())
    shutil.copytree(course.ROOT / "labs" / CONV, root / "labs" / CONV)
    (root / "datasets").symlink_to(course.ROOT / "datasets")
    limit = (f"\nimport dataclasses\n\nEXERCISES = {{name: dataclasses.replace(e, seconds={timeout}) if isinstance(e, Exercise) else e\n"
             f"             for name, e in EXERCISES.items() if name not in {sorted(dropped)}}}\n")
    for lab, text, trusted in ((CONV, (course.ROOT / "labs" / CONV / "lab.py").read_text(encoding="utf-8"),
                                (course.ROOT / "labs" / CONV / "exercises.py").read_text(encoding="utf-8")),
                               (frameworks.NAME, frameworks.LAB, Path(frameworks.__file__).read_text(encoding="utf-8"))):
        write(root / "labs" / lab / "lab.py", shortened(text, dropped, variant == "checks").encode())
        write(root / "labs" / lab / "exercises.py", (trusted + limit).encode())


def shortened(text: str, dropped: set[str], bare: bool) -> str:
    """A lab's text without the cells of these exercises; `bare`: only answers, checks and what is given."""
    kept = []
    for cell in re.split(r"^(?=# %%)", text, flags=re.MULTILINE):
        head = cell.split("\n", 1)[0]
        role = re.search(r'\b(exercise|given|predict|check|manual)="([^"]*)"', head)
        if not (role and role[2] in dropped) and (role or not bare):
            kept.append(cell)
    return "".join(kept)


def students(number: int) -> list[Student]:
    """So many students, in turn of every kind, and half of them in each lab."""
    found = []
    for i in range(number):
        turn, kind = divmod(i, len(KINDS))
        lab = LABS[turn % len(LABS)]
        found.append(Student(f"{KINDS[kind]}-{i:03d}", KINDS[kind], lab))
    return found


def answers(lab: Lab, of: list[Student]) -> Iterator[tuple[Student, dict[str, str]]]:
    """Each student of this lab, `broken` filled in, with answers that nobody else has."""
    right, stubs = source.read(lab).answers, source.read(lab).stubs
    pool = _pool(lab)
    turns = {kind: itertools.count() for kind in KINDS}
    for student in of:
        if student.lab != lab.lab:
            continue
        n = next(turns[student.kind])
        given = dict(stubs if student.kind == "empty" else right)
        broken = ""
        if student.kind == "wrong":
            broken, given[broken] = pool[n % len(pool)]
        elif student.kind in ("looping", "crashing"):
            broken = LAST[lab.lab][n % len(LAST[lab.lab])]
            body = "while True:\n        pass" if student.kind == "looping" else CRASHES[n % len(CRASHES)]
            given[broken] = f"def {broken}(*arguments):\n    {body}"
        yield (Student(student.name, student.kind, student.lab, broken),
               {name: f"{text}\n# {student.name}" for name, text in given.items()})


def _pool(lab: Lab) -> list[tuple[str, str]]:
    if lab.lab == frameworks.NAME:
        return list(frameworks.WRONG)
    files = {w.path.stem: w for w in wrong.read(lab)}
    return [(files[name].exercise, _answer(files[name])) for name in WRONG]


def fill(node: Any, given: Mapping[str, str]) -> bytes:
    """The students' notebook with these answers."""
    copy = made.nbformat.from_dict(json.loads(json.dumps(node)))
    for cell in copy.cells:
        cell.source = given.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
    return made.text(copy).encode()


def make(place: Path, number: int, timeout: float, both: bool) -> list[Student]:
    """Both course folders, for the course in HPML_ROOT. Without `both` only ours."""
    everybody: list[Student] = []
    for lab in course.load().labs:
        found = made.read(lab)
        solved = made.solution(lab, found)
        blank = made.student(solved)
        write(place / "ours" / "release" / lab.lab / f"{lab.lab}.ipynb", made.text(blank).encode())
        for name in made.figures(made.in_notebook(found)):
            write(place / "ours" / "release" / lab.lab / name, (lab.folder / name).read_bytes())
        asserts = stock.with_asserts(lab, solved) if both else None
        if asserts is not None:
            write(place / "stock" / "source" / lab.lab / f"{lab.lab}.ipynb", made.text(asserts).encode())
        for student, given in answers(lab, students(number)):
            everybody.append(student)
            path = Path("submitted", student.name, lab.lab, f"{lab.lab}.ipynb")
            write(place / "ours" / path, fill(blank, given))
            if asserts is not None:
                write(place / "stock" / path, fill(made.student(asserts), given))
    if both:
        write(place / "stock" / "nbgrader_config.py", stock.CONFIG.format(timeout=max(1, round(timeout))).encode())
    write(place / "ours" / "nbgrader_config.py", stock.CONFIG.format(timeout=max(1, round(timeout))).encode())
    write(place / "class.json", json.dumps([asdict(s) for s in everybody]).encode())
    return everybody


def main(argv: list[str]) -> None:
    """PLACE NUMBER TIMEOUT both|ours, in a process whose HPML_ROOT is PLACE/root."""
    make(Path(argv[0]), int(argv[1]), float(argv[2]), argv[3] == "both")
