"""A hostile class, graded by the command itself: nobody gets more than was earned, nobody else's grade moves, nothing is left behind.

Three kinds of hostile students: every answer of tests/cheats as a whole notebook; code of tests/hostile that attacks from a cell beside
the exercises, in a notebook without one answer; and submission folders that are not what they seem.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import TINY, use_course
from test_cheats import FOLDER as CHEATS
from test_cheats import read

from hpml import course
from hpml.build import notebook as made
from hpml.grade import record
from hpml.referee import jail

HERE = Path(__file__).parent
LAB = "01-tiny"
HONEST = ("ada", "ben", "cem")
NO_CLOCK = ("guess", "double", "top")           # exercises whose verdict does not depend on what the machine does meanwhile
STEADY = ("--no-execute", *(word for name in NO_CLOCK for word in ("--exercise", name)))
QUICK = ("forged_verdict", "writes_the_gradebook", "kills_everything", "lone_surrogate", "unprintable_error")
pytestmark = pytest.mark.skipif(jail.bubblewrap_problem() is not None, reason="a hostile class is graded in a jail only")

# Runs a command as the last resort of orphans: whatever the command leaves running becomes this process's child.
KEEPER = """
import ctypes, json, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
try:
    said = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=float(sys.argv[1]))
except subprocess.TimeoutExpired as e:
    said = subprocess.CompletedProcess([], 124, e.stdout or b"")
def late(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, late)
signal.alarm(20)
left = []
try:
    while True:
        os.waitpid(-1, 0)
except ChildProcessError:
    pass
except TimeoutError:
    me = str(os.getpid())
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]
            if parent == me:
                left.append(open(f"/proc/{pid}/cmdline").read().replace(chr(0), " "))
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            continue
print(json.dumps({"code": said.returncode, "left": left, "said": said.stdout.decode("utf-8", "replace")[-4000:]}))
"""


class Room:
    """A course folder with submissions, and what each student may earn at most (nothing said: what the exercises are worth)."""

    def __init__(self, place: Path, lab: course.Lab) -> None:
        self.place, self.lab = place, lab
        self.folder, self.mark = place / "course", place / "somebody-was-here"
        self.folder.mkdir(parents=True)
        self.most: dict[str, dict[str, float]] = {}
        found = made.read(lab)
        self.answers, self.blank = found.answers, made.student(made.solution(lab, found))

    def notebook(self, answers: dict[str, str], *more: str) -> dict[str, Any]:
        """The students' notebook with these answers, and `more` cells of code: one after the preamble, the others at the end."""
        node = json.loads(json.dumps(self.blank))
        for cell in node["cells"]:
            cell["source"] = answers.get(cell["metadata"].get("nbgrader", {}).get("grade_id", ""), cell["source"])
        first = next(i for i, cell in enumerate(node["cells"]) if cell["id"] == "given-preamble")
        for n, source in enumerate(more):
            cell = {"cell_type": "code", "id": f"more-{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
            node["cells"].insert(len(node["cells"]) if n else first + 1, cell)
        return node                                                                     # type: ignore[no-any-return]

    def submit(self, student: str, content: Any, most: dict[str, float] | None = None) -> Path:
        folder = self.folder / "submitted" / student / LAB
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{LAB}.ipynb").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        self.most[student] = most or {}
        return folder

    def honest(self) -> None:
        self.submit("ada", self.notebook(self.answers))
        self.submit("ben", self.notebook(self.answers | {"double": "def double(x):\n    return 3 * x"}))
        self.submit("cem", self.notebook({}))

    def cheats(self, wanted: Callable[[str], bool]) -> None:
        for path in sorted(CHEATS.glob("*.py")):
            answer = read(path)
            if answer.header.get("lab", LAB) == LAB and wanted(path.stem):
                name = answer.header["exercise"]
                call = f"{name}(np.ones(4, np.float32))"
                self.submit(path.stem.replace("_", "-"), self.notebook(self.answers | {name: answer.source}, answer.source, call),
                            {name: max(float(w) for w in answer.words("score", "0"))})

    def attacks(self, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """No answer, and a hostile cell: nothing is earned."""
        for path in sorted((HERE / "hostile").glob("*.py")):
            if wanted(path.stem):
                self.submit(path.stem.replace("_", "-"), self.notebook({}, path.read_text(encoding="utf-8")), dict.fromkeys(NO_CLOCK, 0.0)
                            | {"total": 0.0, "frugal": 0.0})

    def folders(self, cells: int = 1000) -> None:
        """Submissions that are not what they seem."""
        nothing = dict.fromkeys(self.lab.exercises, 0.0)
        solved = self.notebook(self.answers)
        self.submit("malformed", json.dumps(solved).encode()[:3000], nothing)
        huge = self.submit("huge", b"", nothing)
        with open(huge / f"{LAB}.ipynb", "wb") as file:
            file.write(json.dumps(solved).encode()[:-1] + b', "more": "')
            file.seek(200_000_000)                              # a hole: no disk is needed for it
            file.write(b'"}')
        self.submit("long", self.notebook(self.answers, *[f"x{n} = {n}" for n in range(cells)]))
        linked = self.submit("linked", b"", nothing) / f"{LAB}.ipynb"
        linked.unlink()
        linked.symlink_to(self.folder / "submitted" / "ada" / LAB / f"{LAB}.ipynb")
        whole = self.submit("whole", b"", nothing)
        (whole / f"{LAB}.ipynb").unlink()
        whole.rmdir()
        whole.symlink_to(self.folder / "submitted" / "ada" / LAB)
        self.most["double-life"] = nothing
        (self.folder / "submitted" / "double-life").symlink_to(self.folder / "submitted" / "ada")
        links = self.submit("links", self.notebook({"double": self.answers["double"]}), {"top": 0.0, "guess": 0.0, "total": 0.0})
        for name, target in (("passwd", "/etc/passwd"), ("other", self.folder / "submitted" / "ada"), ("timestamp.txt", "/etc/passwd"),
                             ("gradebook.db", self.folder / "gradebook.db"), ("journal", self.folder / "graded")):
            (links / name).symlink_to(target)
        modules = self.submit("modules", self.notebook({}, "import numpy, hpml"), nothing)
        for name in ("numpy", "hpml", "sitecustomize", "usercustomize", "nbformat", "ipykernel_launcher", "IPython", "conftest"):
            (modules / f"{name}.py").write_text(f"open({str(self.mark)!r}, 'w').write('owned')\n")
        (modules / "nbgrader_config.py").write_text(f"open({str(self.mark)!r}, 'w').write('owned')\n")
        pickles = self.submit("pickles", self.notebook({}), nothing)
        (pickles / "answer.pkl").write_bytes(pickle.dumps(Opened(str(self.mark))))
        for name in ("data.npy", "graded.json", f"{LAB}.pkl"):
            (pickles / name).write_bytes(pickle.dumps(Opened(str(self.mark))))

    def grade(self, *options: str, seconds: float = 250) -> dict[str, Any]:
        """`hpml grade` in processes of its own, with a temporary folder of its own; what it left running, and said."""
        folder = Path(tempfile.mkdtemp(prefix="hh"))            # short: a socket's path has 108 characters
        before = self.submitted()
        try:
            ran = subprocess.run([sys.executable, "-c", KEEPER, str(seconds), sys.executable, "-m", "hpml.cli", "grade", LAB, "--course",
                                  str(self.folder), *options], capture_output=True, text=True, timeout=seconds + 60, cwd=self.folder,
                                 env={**os.environ, "TMPDIR": str(folder)})
            assert ran.returncode == 0, ran.stderr
            said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
            said["files"] = sorted(p.name for p in folder.iterdir())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        said["mounts"] = [line for line in Path("/proc/self/mountinfo").read_text().splitlines()
                          if str(folder) in line or str(self.folder) in line]
        assert self.submitted() == before               # only ever read
        return said

    def submitted(self) -> dict[str, str]:
        return {str(p): os.readlink(p) if p.is_symlink() else hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted((self.folder / "submitted").rglob("*")) if p.is_symlink() or (p.is_file() and p.stat().st_size < 1e8)}

    def table(self) -> dict[str, dict[str, str]]:
        with open(self.folder / "grades.csv", encoding="utf-8", newline="") as file:
            return {line["student"]: line for line in csv.DictReader(file)}

    def book(self) -> dict[str, dict[str, tuple[float | None, bool]]]:
        """Student → exercise → (score, needs a person), from nbgrader's gradebook."""
        from nbgrader.api import Gradebook
        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as book:
            return {s.student.id: {g.name.removeprefix("check-"): (g.auto_score, g.needs_manual_grade) for g in s.notebooks[0].grades}
                    for s in book.assignment_submissions(LAB)}


class Opened:
    """Whoever unpickles it runs a command."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """The honest students alone, graded."""
    from nbgrader.api import Gradebook
    with pytest.MonkeyPatch.context() as patch, use_course(TINY, tmp_path_factory.mktemp("cache"), patch):
        room = Room(tmp_path_factory.mktemp("quiet"), course.load().ready()[0])
        room.honest()
        with record._own_tools():
            Gradebook(f"sqlite:///{room.place / 'empty.db'}").close()
        shutil.copy(room.place / "empty.db", room.folder / "gradebook.db")
        assert room.grade(*STEADY)["code"] == 0
        yield room


def among_the_hostile(quiet: Room, place: Path) -> Room:
    """The honest students again, in a course folder that hostile ones will join."""
    room = Room(place, quiet.lab)
    room.honest()
    shutil.copy(quiet.place / "empty.db", room.folder / "gradebook.db")
    return room


def held(room: Room, quiet: Room, said: dict[str, Any], exercises: tuple[str, ...]) -> None:
    """All that has to hold after a hostile class was graded."""
    assert said["code"] in (0, 1), said["said"]
    table, book = room.table(), room.book()
    assert set(table) == set(room.most) == set(book), said["said"]
    for student, most in room.most.items():                     # no score above what it earned
        for name in exercises:
            score, allowed = table[student][COLUMN.get(name, name)], most.get(name, room.lab.exercises[name].points)
            assert not score or float(score) <= allowed, (student, name, score, table[student]["outcomes"])
            assert (book[student][name][0] or 0.0) <= allowed, (student, name)
    alone = quiet.book()                                        # the same students in a class without the hostile ones
    for student in HONEST:                                      # the others' grades unchanged
        for name in NO_CLOCK:
            assert book[student][name] == alone[student][name] and alone[student][name][0] is not None, (student, name)
        assert table[student]["double"] == quiet.table()[student]["double"]
    assert not said["left"], said["left"]                       # no processes
    assert not said["files"], said["files"]                     # no temporary files
    assert not said["mounts"], said["mounts"]
    assert not room.mark.exists()
    kept = [p for p in room.folder.rglob("*") if not p.is_relative_to(room.folder / "submitted")]
    assert not [p for p in kept if p.is_symlink() or p.suffix in (".pkl", ".npy", ".bin") or p.name in ("numpy.py", "passwd")]
    assert sum(p.stat().st_size for p in kept if p.is_file()) < 2_000_000 * len(room.most)
    for path in [p for p in kept if p.suffix in (".html", ".ipynb", ".json")]:
        text = path.read_text(encoding="utf-8")
        assert "root:x:0" not in text and len(text) < 3_000_000, path
        if path.suffix == ".html":
            assert "<script" not in text, path
    for path in room.folder.glob("autograded/*/*/*.ipynb"):
        node = nbformat.read(path, as_version=4)
        nbformat.validate(node)
        for cell in node.cells:                                 # what a student's code shows is text and pictures, nothing that runs
            if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
                assert {kind for output in cell.outputs for kind in output.get("data", {})} <= {"text/plain", "image/png"}, path


COLUMN = {"total": "total (exercise)"}


def test_a_few_of_each_kind(quiet: Room, tmp_path: Path) -> None:
    room = among_the_hostile(quiet, tmp_path)
    room.cheats(lambda name: name in QUICK)
    room.folders()
    said = room.grade(*STEADY)
    held(room, quiet, said, NO_CLOCK)
    assert said["code"] == 0
    table = room.table()
    assert float(table["long"]["double"]) == 2 and float(table["links"]["double"]) == 2         # what is right is paid, oddities or not
    assert "malformed" in table["huge"]["outcomes"] and "larger than 20 MB" in next(
        (room.folder / "feedback" / "huge").rglob("*.html")).read_text(encoding="utf-8")


def test_hostile_cells_in_the_notebook_itself(quiet: Room, tmp_path: Path) -> None:
    room = among_the_hostile(quiet, tmp_path)
    room.attacks(lambda name: name in ("blanks_every_check", "claims_its_verdict", "stays_behind", "ends_the_kernel"))
    held(room, quiet, room.grade(*STEADY[1:]), NO_CLOCK)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_cheat_and_every_attack_in_one_class(quiet: Room, tmp_path: Path) -> None:
    room = among_the_hostile(quiet, tmp_path)
    room.cheats(lambda name: True)
    room.attacks()
    room.folders(cells=10_000)
    held(room, quiet, room.grade(seconds=2900), tuple(quiet.lab.exercises)[:-1])


def test_every_attack_says_why() -> None:
    for path in (HERE / "hostile").glob("*.py"):
        assert path.read_text(encoding="utf-8").startswith("# why: "), path.name
