"""`hpml build`: the files that it makes, checks, and leaves alone; determinism; kind errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_lab import DECK, SOLVED, STUDENT, edit, error, rendered, tiny

from hpml import build, course
from hpml.course import CourseError

__all__ = ["tiny"]


def test_makes_these_files_and_check_agrees(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 0
    made = {p.relative_to(tiny).as_posix() for folder in ("notebooks", "solutions", "slides")
            for p in (tiny / folder).rglob("*") if p.is_file() and "theme" not in p.parts}
    assert made == {STUDENT, SOLVED, DECK, "notebooks/04-tiny/figures/square.svg", "solutions/04-tiny/figures/square.svg"}
    assert build.main(["--check"]) == 0
    capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in (tiny / "notebooks").rglob("*")}
    assert build.main([]) == 0
    assert {p: p.stat().st_mtime_ns for p in (tiny / "notebooks").rglob("*")} == before, "files that are right are left alone"
    assert "written" not in capsys.readouterr().out


def test_a_script_of_the_lab_lies_beside_both_notebooks(tiny: Path) -> None:
    manifest = (tiny / "course.yml").read_text(encoding="utf-8")
    script = tiny / "labs" / "04-tiny" / "train.py"
    script.write_text("print(4)\n", encoding="utf-8")
    for name, said in (("train.py", None), ("gone.py", "cannot be read"), ("exercises.py", "students may"), ("../a", "students may")):
        changed = manifest.replace("    minutes: 10\n", f"    minutes: 10\n    files: [{name}]\n", 1)
        (tiny / "course.yml").write_text(changed, encoding="utf-8")
        course.load.cache_clear()
        if said is None:
            made = build.render(course.load().ready())
            assert made["notebooks/04-tiny/train.py"] == made["solutions/04-tiny/train.py"] == script.read_bytes()
        else:
            with pytest.raises(CourseError, match=said):
                build.render(course.load().ready())


def test_two_processes_make_the_same_bytes(tiny: Path) -> None:
    code = "from hpml import build, course, __version__; import sys\n" \
           "for n, c in sorted(build.render(course.load().ready()).items()): sys.stdout.buffer.write(n.encode() + c)"
    outputs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tiny.parent,
                              env=os.environ | {"HPML_ROOT": str(tiny), "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert len(outputs) == 1
    assert outputs.pop() == b"".join(n.encode() + c for n, c in sorted(build.render(course.load().ready()).items()))


@pytest.mark.parametrize("name", [STUDENT, SOLVED, DECK, "notebooks/04-tiny/figures/square.svg"])
def test_check_names_a_changed_and_a_missing_file(tiny: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    build.main([])
    with (tiny / name).open("a") as file:
        file.write(" ")
    capsys.readouterr()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"{name} is not what its lab makes", "Run: ./course build"]
    (tiny / name).unlink()
    assert build.main(["--check", "04"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"{name} is missing", "Run: ./course build"]


def test_check_fails_after_a_lab_changed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.main([])
    edit(tiny, "## A picture", "## Another picture")
    assert build.main(["--check"]) == 1
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [STUDENT, DECK, SOLVED, "Run:"]


def test_files_of_no_lab_are_named_and_never_removed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.main([])
    mine = tiny / "notebooks" / "mine.ipynb"
    mine.write_text("{}")
    (tiny / "notebooks" / ".ipynb_checkpoints").mkdir()
    (tiny / "notebooks" / ".ipynb_checkpoints" / "x.ipynb").write_text("{}")
    capsys.readouterr()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == ["notebooks/mine.ipynb is made by no lab: remove it"]
    assert build.main([]) == 0
    assert mine.exists() and "notebooks/mine.ipynb: no lab makes this file" in capsys.readouterr().out


def test_a_students_work_is_not_overwritten(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.main([])
    path = tiny / STUDENT
    path.write_text(path.read_text().replace("raise NotImplementedError()", "return a * a"))
    work = path.read_text()
    edit(tiny, "## A picture", "## Another picture")
    capsys.readouterr()
    assert build.main([]) == 1
    assert "has answers in it (square)" in capsys.readouterr().err and path.read_text() == work
    path.write_text('{"cells": [')
    assert build.main([]) == 1
    assert "cannot be read as a notebook" in capsys.readouterr().err
    assert build.main(["--force"]) == 0
    assert build.main(["--check"]) == 0


def test_an_old_notebook_without_answers_is_replaced(tiny: Path) -> None:
    build.main([])
    edit(tiny, "The area of a square", "The surface of a square")
    assert build.main([]) == 0
    assert "The surface" in (tiny / STUDENT).read_text()


# ---------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(("old", "new", "says"), [
    ("{{times}}", "{{time}}", "labs/04-tiny/lab.py:5: {{time}} has no value in measured.json (did you mean 'times'?)"),
    ("figures/square.svg", "figures/sqare.svg", "labs/04-tiny/lab.py:38: there is no figure figures/sqare.svg in labs/04-tiny"),
    ("figures/square.svg", "../04-tiny/figures/square.svg", "figures lie in the lab's folder figures/"),
    ("square(3)", "square(3", "in this cell, line 1: '(' was never closed"),
    ('uses="square"', 'uses="squares"', "uses='squares' is no exercise and no given cell of this lab (did you mean 'square'?)"),
    ('verdict.\ncheck("square")', 'verdict.\nprint("well done")', "does not call check(\"square\")"),
])
def test_mistakes_in_a_lab_name_line_and_remedy(tiny: Path, old: str, new: str, says: str) -> None:
    assert says in error(tiny, old, new)


@pytest.mark.parametrize("text", ["{", '["a"]', '{"times": 412}'])
def test_measured_values_are_strings(tiny: Path, text: str) -> None:
    (tiny / "labs/04-tiny/measured.json").write_text(text)
    with pytest.raises(CourseError, match=r"labs/04-tiny/measured.json is"):
        rendered()


def test_magics_are_python_to_the_build(tiny: Path) -> None:
    edit(tiny, "square(3)", "%timeit -n 1 square(3)\n!ls")
    assert "%timeit" in rendered()[STUDENT]


def test_errors_are_one_line_and_exit_1(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["nosuch"]) == 1
    assert capsys.readouterr().err.startswith("hpml build: no lab is called 'nosuch'")
    (tiny / "labs" / "06-stray").mkdir()
    (tiny / "labs" / "06-stray" / "lab.py").write_text("# %%\n1\n")
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("hpml build: labs/06-stray is not in course.yml")
    (tiny / "course.yml").write_text((tiny / "course.yml").read_text().replace("minutes:", "minuets:"))
    course.load.cache_clear()
    assert build.main(["--check"]) == 1
    assert "unknown key 'minuets' (did you mean 'minutes'?)" in capsys.readouterr().err
    assert not (tiny / "notebooks").exists()


def test_importing_the_build_imports_no_framework() -> None:
    code = "import hpml.build, hpml.build.release, hpml.build.deck, sys; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
