"""`hpml release`: what is in the students' distribution, what must never be, and what happens to a folder that exists."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_lab import ROOT, tiny

from hpml import course, source
from hpml.build import release
from hpml.course import CourseError

__all__ = ["tiny"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of this checkout."""
    course.load.cache_clear()
    to = tmp_path_factory.mktemp("release") / "course"
    assert release.main(["--to", str(to)]) == 0
    return to


@pytest.fixture
def checkout(tiny: Path) -> Path:
    """A tiny course with everything around it that a release copies."""
    for name in (*release.FILES, "hpml", "datasets"):
        (tiny / name).symlink_to(ROOT / name)
    return tiny


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def texts(folder: Path) -> str:
    """Everything readable in a folder, notebooks as their cells' text."""
    parts = []
    for name, content in files(folder).items():
        if name.endswith(".ipynb"):
            parts += ["".join(cell["source"]) for cell in json.loads(content)["cells"]]
        elif not name.endswith(".npz"):
            parts.append(content.decode())
    return "\n".join(parts)


def modules(folder: Path) -> dict[str, Path]:
    """Module → file, of the package in a release."""
    return {".".join(p.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): p for p in sorted(folder.glob("hpml/**/*.py"))}


def secrets(lab: course.Lab, public: str) -> set[str]:
    """Lines of the trusted side of a lab that are long enough to tell something and that its students are not shown anyway."""
    found = source.read(lab)
    answers = "\n".join(c.solution for c in found.by_role("exercise", "predict", "manual").values())
    trusted = "\n".join(p.read_text(encoding="utf-8") for p in (lab.folder / "exercises.py", *sorted(lab.folder.glob("wrong/*.py"))))
    benches = [p for name in release.BENCHES for p in (ROOT / "hpml").glob(f"{name}*")]
    library = [p for p in ROOT.glob("hpml/**/*.py") if not any(p == b or b in p.parents for b in benches)]
    public += "".join(p.read_text(encoding="utf-8") for p in (*library, *map(lab.folder.joinpath, lab.files)))
    return {line.strip() for line in (answers + "\n" + trusted).splitlines() if len(line.strip()) >= 24 and line.strip() not in public}


def test_has_what_students_need(made: Path) -> None:
    names = set(files(made))
    for lab in course.load().ready():
        assert {f"notebooks/{lab.lab}/{lab.lab}.ipynb", f"slides/{lab.lab}.html"} <= names
        assert f"notebooks/{lab.lab}/{lab.lab}.ipynb" in (made / "README.md").read_text()
    assert {"course", "course.yml", "README.md", "requirements.lock", "pyproject.toml", "datasets/registry.yml",
            "slides/theme/reveal/reveal.js", "hpml/check.py", "hpml/cli.py", "hpml/widgets/__init__.py"} <= names
    assert any(name.endswith(".npz") for name in names)
    assert os.access(made / "course", os.X_OK)


def test_has_no_trusted_side(made: Path) -> None:
    names = files(made)
    assert not [n for n in names if n.startswith(("labs/", "solutions/", "tests/", ".ci/", ".git/", "hpml/build", "hpml/grade"))]
    assert not [n for n in names if n.endswith((".pyc", ".pem", ".key", ".db", ".j2"))]
    assert not {"hpml/referee/oracle.py", "hpml/referee/judge.py", "hpml/referee/server.py", "hpml/wrong.py"} & names.keys()


@pytest.mark.parametrize("lab", course.load().ready(), ids=lambda lab: lab.lab)
def test_no_answer_and_no_oracle_can_be_read_in_it(made: Path, lab: course.Lab) -> None:
    student = "\n".join(c.student for other in course.load().ready() for c in source.read(other).cells)
    hidden, told = secrets(lab, student), texts(made)
    assert len(hidden) > 20
    assert not [line for line in hidden if line in told and not line.startswith(("from ", "import "))]


def test_the_tiny_labs_secrets_are_found_by_that_search_when_they_are_there(checkout: Path, tmp_path: Path) -> None:
    lab = course.load().ready()[0]
    hidden = secrets(lab, "\n".join(c.student for c in source.read(lab).cells))
    assert {"area_of_the_square = a * a", "return area_of_the_square", "EXERCISES = {'square': the_oracle_of_squares}"} <= hidden
    release.write([lab], tmp_path / "out")
    told = texts(tmp_path / "out")
    assert not [line for line in hidden if line in told] and "raise NotImplementedError()" in told
    (tmp_path / "out" / "leak.py").write_text("return area_of_the_square")
    assert "return area_of_the_square" in texts(tmp_path / "out")


def test_rubrics_and_unreleased_labs_are_not_told(checkout: Path, tmp_path: Path) -> None:
    manifest = checkout / "course.yml"
    manifest.write_text(manifest.read_text().replace("status: planned", "status: ready\n    exercises: {x: {points: 1}}"))
    course.load.cache_clear()
    assert release.main(["04", "--to", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "course.yml").read_text()
    assert "grows with the square" not in text
    parsed = course.parse(text)
    assert [lab.lab for lab in parsed.ready()] == ["04-tiny"] and parsed.labs[0].exercises["explain"].points == 2.5
    raw = yaml.safe_load(text)
    assert "exercises" not in raw["labs"][1]


def test_it_is_a_course_by_itself(made: Path, tmp_path: Path) -> None:
    """Every module can be imported, a notebook's first cells run, and `check` says kindly where the checking is done."""
    there = modules(made)
    lab = course.load().ready()[0]
    exercise = next(name for name, e in lab.exercises.items() if e.kind == "code")
    code = f"""
import importlib, sys
import hpml.check, hpml.distributed, hpml.widgets
assert "tensorflow" not in sys.modules
for name in {sorted(there)!r}:
    importlib.import_module(name)
import hpml
from hpml import check
assert hpml.__file__.startswith({str(made)!r}), hpml.__file__
hpml.lab({lab.lab!r})
try:
    check({exercise!r})
except Exception as e:
    print(type(e).__name__, e)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HPML_")} | {
        "PYTHONPATH": str(made), "PYTHONDONTWRITEBYTECODE": "1", "HPML_CACHE": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("NotYet") and "ubmit" in ran.stdout


def test_its_modules_import_nothing_that_was_left_out(made: Path) -> None:
    there = modules(made)
    for name, path in there.items():
        for node in ast.parse(path.read_text()).body:       # what is imported in a function is for the command that calls it
            wanted = []
            if isinstance(node, ast.ImportFrom):
                inside = [f"{node.module}.{a.name}" for a in node.names]
                wanted = [i for i in inside if (ROOT / i.replace(".", "/")).with_suffix(".py").is_file()] or [node.module or ""]
            elif isinstance(node, ast.Import):
                wanted = [a.name for a in node.names]
            assert not [w for w in wanted if w.startswith("hpml") and w not in there], f"{name} imports {wanted}"


def test_two_releases_are_the_same(made: Path, tmp_path: Path) -> None:
    assert release.main(["--to", str(tmp_path / "again")]) == 0
    assert files(tmp_path / "again") == files(made)


# ------------------------------------------------------------------------------------------------- a folder that exists


def test_an_empty_folder_is_taken(checkout: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    to.mkdir()
    assert release.main(["--to", str(to)]) == 0
    assert (to / "README.md").is_file()


def test_other_files_are_never_overwritten(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "home"
    to.mkdir()
    (to / "thesis.tex").write_text("years of work")
    for arguments in ([], ["--force"]):
        assert release.main(["--to", str(to), *arguments]) == 1
        assert "is not empty and no release either" in capsys.readouterr().err
    assert files(to) == {"thesis.tex": b"years of work"}
    assert release.main(["--to", str(to / "thesis.tex")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_force_replaces_an_earlier_release_and_keeps_its_history(checkout: Path, tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "out"
    assert release.main(["--to", str(to)]) == 0
    first = files(to)
    (to / ".git").mkdir()
    (to / ".git" / "HEAD").write_text("ref")
    (to / "notebooks" / "old.ipynb").write_text("{}")
    assert release.main(["--to", str(to)]) == 1
    assert "--force" in capsys.readouterr().err
    assert release.main(["--to", str(to), "--force"]) == 0
    assert files(to) == first | {".git/HEAD": b"ref"}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] == []


def test_a_failure_leaves_everything_as_it_was(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "out"
    assert release.main(["--to", str(to)]) == 0
    before = files(to)
    (checkout / "environment.yml").unlink()
    assert release.main(["--to", str(to), "--force"]) == 1
    assert "environment.yml is not here, and a release needs it" in capsys.readouterr().err
    assert files(to) == before and sorted(p.name for p in tmp_path.iterdir()) == ["out", "tiny"]
    assert release.main(["--to", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()


def test_an_unknown_lab_is_named(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["05", "--to", str(tmp_path / "out")]) == 1
    assert "05-later is planned, not written yet" in capsys.readouterr().err
    with pytest.raises(CourseError), release.instead_of(tmp_path / "tiny", force=True):
        raise AssertionError("not reached")
