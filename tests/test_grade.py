"""Grading a class: from files of any quality to gradebook, feedback and table. The judge is a stand-in; the gradebook is nbgrader's."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from hpml import course, grade
from hpml.build import notebook as made
from hpml.grade import collect, journal, record
from hpml.referee import jail
from hpml.referee.client import RefereeError
from hpml.verdict import Measured, Outcome, Verdict

NAME = "01-tiny"
COLUMNS = ["guess", "double", "top", "total (exercise)", "frugal", "why"]
CODE = ["guess", "double", "top", "total", "frugal"]


class FakeJudge:
    """Reads the verdict off the answer: `# wrong`, `# noisy`, `# broken` and `# half` in its source. Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.error: BaseException | None = None
        self.overrides: dict[str, tuple[Outcome, float]] = {}

    def __call__(self, lab: str, cells: dict[str, str], exercises: list[str]) -> list[Verdict]:
        self.asked.append(tuple(exercises))
        if self.error:
            raise self.error
        return [self.verdict(lab, n, cells[n]) for n in exercises]

    def verdict(self, lab: str, name: str, source: str) -> Verdict:
        most = course.load().lab(lab).exercises[name].points
        outcome, score = self.overrides.get(name) or (
            (Outcome.WRONG, 0.0) if "# wrong" in source else (Outcome.TOO_NOISY, 1.0) if "# noisy" in source
            else (Outcome.INFRASTRUCTURE, 0.0) if "# broken" in source else (Outcome.PARTIAL, most / 2) if "# half" in source
            else (Outcome.NOT_ATTEMPTED, 0.0) if "NotImplementedError" in source or "..." in source else (Outcome.PASS, most))
        measured = [Measured(target="speedup", versus="python_sum", start=2, full=20, ratio=30, low=28, high=33, credit=1,
                             samples=[(1e-5, 3e-4)] * 6)] if name == "total" and outcome is Outcome.PASS else []
        return Verdict(lab=lab, exercise=name, outcome=outcome, score=score, max_score=most, message=f"`{name}`: {source[:80]}",
                       hint="Think <b>again</b>." if outcome is Outcome.WRONG else None, measured=measured, jail="bubblewrap",
                       output="<script>alert(1)</script>", evidence={"seed": "48151623", "source_sha256": "5ca1ab1e"})


@pytest.fixture(scope="session")
def empty_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gradebook without anything, made once: nbgrader needs a second for it."""
    from nbgrader.api import Gradebook
    path = tmp_path_factory.mktemp("book") / "gradebook.db"
    with record._own_tools():
        Gradebook(f"sqlite:///{path}").close()
    return path


class Class:
    """A course folder with submissions, and ways to look at what became of them."""

    def __init__(self, folder: Path, lab: course.Lab) -> None:
        self.folder, self.lab, self.judge = folder, lab, FakeJudge()
        found = made.read(lab)
        self.answers = found.answers | {key: cell.solution for key, cell in found.by_role("manual").items()}
        self.blank = made.student(made.solution(lab, found))

    def notebook(self, **answers: str) -> nbformat.NotebookNode:
        node = nbformat.from_dict(json.loads(json.dumps(self.blank)))
        for cell in node.cells:
            cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.source)
        return node

    def solved(self, **answers: str) -> nbformat.NotebookNode:
        return self.notebook(**(self.answers | answers))

    def submit(self, student: str, node: Any, name: str = f"{NAME}.ipynb") -> Path:
        path = self.folder / "submitted" / student / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(node if isinstance(node, bytes) else json.dumps(node).encode())
        return path

    def grade(self, *options: str) -> int:
        return grade.main([NAME, "--course", str(self.folder), *options], self.judge)

    def verdicts(self, student: str) -> dict[str, Verdict]:
        kept = journal.Journal(self.folder, self.lab)
        return {n: e[1] for n in self.lab.exercises if (e := kept.load(student, n))}

    def book(self) -> Any:
        from nbgrader.api import Gradebook
        return Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}")

    def grades(self, student: str) -> dict[str, tuple[float | None, bool]]:
        """Grade cell → (automatic score, needs a person)."""
        with self.book() as book:
            found = book.find_submission_notebook(NAME, NAME, student)
            return {g.name.removeprefix("check-"): (g.auto_score, g.needs_manual_grade) for g in found.grades}

    def table(self) -> dict[str, dict[str, str]]:
        with open(self.folder / "grades.csv", encoding="utf-8", newline="") as file:
            return {row["student"]: row for row in csv.DictReader(file)}

    def page(self, student: str) -> str:
        return (self.folder / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")

    def autograded(self, student: str) -> nbformat.NotebookNode:
        return nbformat.read(self.folder / "autograded" / student / NAME / f"{NAME}.ipynb", as_version=4)


@pytest.fixture
def room(tiny: course.Lab, tmp_path: Path, empty_book: Path) -> Class:
    folder = tmp_path / "course"
    folder.mkdir()
    shutil.copy(empty_book, folder / "gradebook.db")
    return Class(folder, tiny)


def test_a_class_from_submissions_to_gradebook_feedback_and_table(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("ada", room.solved())
    room.submit("ben", room.notebook())
    room.submit("cem", room.solved(double="def double(x): return 3 * x  # wrong"))
    room.submit("cem", b"2026-03-01 10:00:00 UTC", "timestamp.txt")
    assert room.grade() == 0
    table = room.table()
    assert [table["ada"][n] for n in (*COLUMNS, "total", "max", "pending")] == ["1", "2", "1", "4", "2", "", "10", "11", "why"]
    assert [table["ben"][n] for n in (*COLUMNS, "total", "pending")] == ["0"] * 7 + [""]
    assert table["cem"]["total"] == "8" and "double: wrong" in table["cem"]["outcomes"]

    with room.book() as book:                                   # what formgrader asks for
        rows = {row["student"]: row for row in book.notebook_submission_dicts(NAME, NAME)}
    assert (rows["ada"]["score"], rows["ada"]["max_score"], rows["ada"]["needs_manual_grade"]) == (10, 11, True)
    assert (rows["ben"]["score"], rows["ben"]["needs_manual_grade"]) == (0, False)
    assert rows["cem"]["failed_tests"]
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config
    api = NbGraderAPI(config=Config({"CourseDirectory": {"root": str(room.folder), "db_url": f"sqlite:///{room.folder}/gradebook.db"}}))
    assert api.get_autograded_students(NAME) == {"ada", "ben", "cem"}
    assert {s["student"]: s["autograded"] for s in api.get_submissions(NAME)} == {"ada": True, "ben": True, "cem": True}

    out = capsys.readouterr()
    assert "grades.csv" in out.out and "✎ ?" in out.out and "3/3 cem: 8+ of 11 points" in out.err


def test_nbgrader_itself_goes_on_from_there(room: Class) -> None:
    room.submit("ada", room.solved())
    assert room.grade() == 0
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}", JUPYTER_CONFIG_DIR=str(room.folder))
    for command in (["export"], ["generate_feedback", NAME, "--force"]):
        ran = subprocess.run([sys.executable, "-m", "nbgrader", *command], cwd=room.folder, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    with open(room.folder / "grades.csv", encoding="utf-8") as file:            # nbgrader's own export has this name, too
        row = next(csv.DictReader(file))
    assert (row["student_id"], row["score"], row["max_score"]) == ("ada", "10.0", "11.0")


def deleted(room: Class, name: str) -> nbformat.NotebookNode:
    node = room.solved()
    node.cells = [c for c in node.cells if c.metadata.get("nbgrader", {}).get("grade_id") != name]
    return node


def doubled(room: Class, second: str) -> nbformat.NotebookNode:
    node = room.solved()
    at = next(i for i, c in enumerate(node.cells) if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
    node.cells.insert(at + 1, nbformat.from_dict({**node.cells[at], "id": "copy", "source": second}))
    return node


def as_link(room: Class, target: Path) -> None:
    path = room.submit("bad", b"")
    path.unlink()
    path.symlink_to(target)


BAD: dict[str, tuple[Callable[[Class], Any], str]] = {
    "cut off": (lambda r: json.dumps(r.solved()).encode()[:900], "it stops being JSON"),
    "empty": (lambda r: b"", "an empty file"),
    "white space": (lambda r: b" \n\t", "an empty file"),
    "binary": (lambda r: b"\x89PNG\r\n\x1a\n\0\0\xff" * 99, "not text"),
    "a list": (lambda r: b"[1, 2]", "it has no list of cells"),
    "nested too deep": (lambda r: b"[" * 100_000, "it stops being JSON"),
    "another notebook": (lambda r: nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), "another lab"),
    "cells of no kind": (lambda r: {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1, None, {"source": 3}]}, "another lab"),
    "damaged old format": (lambda r: {"nbformat": 3, "worksheets": [{"cells": 7}]}, "in an old format, and damaged"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_notebook_that_cannot_be_read_is_malformed_and_hurts_nobody_else(room: Class, what: str) -> None:
    make, says = BAD[what]
    path = room.submit("bad", make(room))
    before = path.read_bytes()
    room.submit("good", room.solved())
    assert room.grade() == 0
    assert {v.outcome for v in room.verdicts("bad").values()} == {Outcome.MALFORMED}
    assert all(says in v.message for v in room.verdicts("bad").values())
    assert path.read_bytes() == before
    assert set(room.grades("bad").values()) == {(0.0, False)}
    assert says in room.page("bad") and "could not be graded" in room.page("bad")
    assert "could not be read" in room.autograded("bad").cells[0].source
    assert room.table()["good"]["total"] == "10"


@pytest.mark.parametrize(("name", "says"), [("Untitled.ipynb", "Rename your notebook to `01-tiny.ipynb`"),
                                            ("notes.txt", "holds no notebook")])
def test_a_wrong_file_name_is_said(room: Class, name: str, says: str) -> None:
    room.submit("bad", room.solved(), name)
    assert room.grade() == 0
    assert all(v.outcome is Outcome.MALFORMED and says in v.message for v in room.verdicts("bad").values())


def test_a_huge_file_is_not_read(room: Class) -> None:
    path = room.submit("bad", b"")
    with open(path, "wb") as file:
        file.truncate(3 << 30)
    assert room.grade() == 0
    assert "larger than 20 MB" in room.verdicts("bad")["double"].message


def test_links_and_pipes_are_not_followed(room: Class) -> None:
    other = room.submit("good", room.solved())
    as_link(room, other)
    looped = room.submit("loop", b"")
    looped.unlink()
    looped.symlink_to(looped)
    pipe = room.submit("pipe", b"")
    pipe.unlink()
    os.mkfifo(pipe)
    shutil.copytree(other.parent.parent, room.folder / "elsewhere")
    (room.folder / "submitted" / "whole").mkdir()
    (room.folder / "submitted" / "whole" / NAME).symlink_to(room.folder / "elsewhere" / NAME)
    assert room.grade() == 0
    for student, says in (("bad", "a link to a place outside"), ("loop", "cannot be opened"), ("pipe", "is not a file"),
                          ("whole", "a link to a place outside")):
        assert says in room.verdicts(student)["double"].message, student
    assert room.table()["good"]["total"] == "10"


def test_a_folder_with_an_odd_name_is_left_out(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("good", room.solved())
    room.submit("=cmd()", room.solved())
    assert room.grade() == 0
    assert list(room.table()) == ["good"] and "left out: the folder '=cmd()'" in capsys.readouterr().err


def test_a_missing_exercise_cell_costs_only_its_own_points(room: Class) -> None:
    room.submit("ada", deleted(room, "double"))
    assert room.grade() == 0
    found = room.verdicts("ada")
    assert found["double"].outcome is Outcome.MALFORMED and "is missing from the notebook" in found["double"].message
    assert room.table()["ada"]["total"] == "8" and room.judge.asked == [("guess", "top", "total", "frugal")]


@pytest.mark.parametrize(("second", "outcome", "score"), [
    ("def double(x): return 3 * x", Outcome.MALFORMED, "0"), ("# YOUR CODE HERE\nraise NotImplementedError()", Outcome.PASS, "2"),
    (None, Outcome.PASS, "2")])
def test_a_duplicated_cell_counts_only_where_its_meaning_is_clear(room: Class, second: str | None, outcome: Outcome, score: str) -> None:
    stub = next(c.source for c in room.blank.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "double")
    room.submit("ada", doubled(room, room.answers["double"] if second is None else stub if "YOUR CODE" in second else second))
    assert room.grade() == 0
    assert room.verdicts("ada")["double"].outcome is outcome and room.table()["ada"]["double"] == score
    assert "stands 2 times" in room.page("ada")
    ids = [c.metadata.nbgrader.grade_id for c in room.autograded("ada").cells if "grade_id" in c.metadata.get("nbgrader", {})]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("keep_id", [True, False])
def test_a_cell_that_lost_its_mark_is_found(room: Class, keep_id: bool) -> None:
    node = room.solved()
    for cell in node.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in ("double", "guess"):
            del cell.metadata["nbgrader"]
            cell.id = cell.id if keep_id else "x" + cell.id[:5]
    room.submit("ada", node)
    assert room.grade() == 0
    assert room.table()["ada"]["total"] == "10" and "had lost its mark" in room.page("ada")


def test_locked_cells_and_marks_are_restored(room: Class) -> None:
    node = room.solved()
    for cell in node.cells:
        mark = cell.metadata.get("nbgrader", {})
        if mark.get("grade_id") == "check-double":
            cell.source = "2.0"
            mark.update(locked=False, solution=True, points=99)
        if mark.get("grade_id") == "given-preamble":
            cell.cell_type, mark["grade"] = "raw", "yes"
        if mark.get("grade_id") == "double":
            cell.cell_type = "markdown"
            mark.clear()
            mark["grade_id"] = "double"
    node.cells = [c for c in node.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "check-top"]
    path = room.submit("ada", node)
    before = path.read_bytes()
    assert room.grade() == 0
    assert path.read_bytes() == before
    assert room.table()["ada"]["total"] == "10"
    fixed = {c.metadata.nbgrader.grade_id: c for c in room.autograded("ada").cells if "nbgrader" in c.metadata}
    original = {c.metadata.nbgrader.grade_id: c for c in room.blank.cells if "nbgrader" in c.metadata}
    assert list(fixed) == list(original)
    for name, cell in original.items():
        assert fixed[name].cell_type == cell.cell_type and fixed[name].metadata == cell.metadata
        assert name in room.answers or fixed[name].source == cell.source
    assert fixed["double"].source == room.answers["double"]
    assert "`check-double` had been changed" in room.page("ada").replace("<code>", "`").replace("</code>", "`")
    assert fixed["check-double"].outputs[0].data["text/html"]           # formgrader shows the report beside the answer


def test_an_older_format_is_read(room: Class) -> None:
    old = nbformat.convert(room.solved(), 3)
    room.submit("ada", json.dumps(old).encode())
    assert room.grade() == 0
    assert room.table()["ada"]["total"] == "10" and "older format" in room.page("ada")


def test_an_answer_without_end_is_malformed(room: Class) -> None:
    room.submit("ada", room.solved(double="#" * 1_000_000))
    assert room.grade() == 0
    assert "longer than 200 kB" in room.verdicts("ada")["double"].message and room.table()["ada"]["total"] == "8"


def test_pending_is_never_zero_and_comes_a_second_time(room: Class) -> None:
    room.submit("ada", room.solved(total="def total(x): pass  # noisy", top="def top(x): pass  # broken"))
    room.submit("ben", room.solved())
    assert room.grade() == 1                                    # something failed on our side
    assert room.judge.asked == [tuple(CODE), ("top", "total"), ("top", "total"), ("top",), ("top",)]     # ada, ben, and ada again
    assert room.grades("ada")["total"] == (None, True) and room.grades("ada")["top"] == (None, True)
    row = room.table()["ada"]
    assert (row["total"], row["pending"]) == ("5", "top total why")
    room.judge.overrides = {"total": (Outcome.PASS, 4.0), "top": (Outcome.PASS, 1.0)}
    assert room.grade() == 0
    assert room.judge.asked[5:] == [("top", "total")]
    assert room.grades("ada")["total"] == (4.0, False)


def test_only_what_changed_is_judged_again(room: Class) -> None:
    room.submit("ada", room.solved())
    assert room.grade() == room.grade() == 0
    assert room.judge.asked == [tuple(CODE)]
    room.submit("ada", room.solved(double="def double(x): return x + x"))
    assert room.grade() == 0
    assert room.judge.asked[1:] == [("double", "total")]        # total builds on double
    assert room.grade("--force", "--exercise", "top") == 0
    assert room.judge.asked[2:] == [("top",)]
    (room.folder / "graded" / NAME / "ada" / "top.json").write_text("{half a")
    assert room.grade() == 0
    assert room.judge.asked[3:] == [("top",)]


@pytest.mark.parametrize("later", [(Outcome.PARTIAL, 2.0), (Outcome.TOO_NOISY, 1.0), (Outcome.TIMEOUT, 0.0), (Outcome.INFRASTRUCTURE, 0.0)])
def test_running_again_never_lowers_a_score(room: Class, later: tuple[Outcome, float]) -> None:
    room.submit("ada", room.solved())
    assert room.grade() == 0
    room.judge.overrides = {"total": later}
    room.grade("--force")
    assert room.grades("ada")["total"] == (4.0, False)
    assert f"ended in “{later[0]}”" in room.verdicts("ada")["total"].notes[-1]
    room.submit("ada", room.solved(total="def total(x): return 1"))       # another answer is another matter
    room.grade()
    assert room.grades("ada")["total"] != (4.0, False)


def test_what_an_instructor_graded_is_kept(room: Class) -> None:
    room.submit("ada", room.solved(double="def double(x): return 0  # wrong"))
    assert room.grade() == 0
    with room.book() as book:
        for cell, points in (("why", 0.5), ("check-double", 1.5)):
            found = book.find_grade(cell, NAME, NAME, "ada")
            found.manual_score, found.needs_manual_grade = points, False
        book.find_grade("check-top", NAME, NAME, "ada").extra_credit = 0.25
        book.find_comment("why", NAME, NAME, "ada").manual_comment = "Nearly <there>."
        book.db.commit()
    assert room.grade("--force") == 0
    row = room.table()["ada"]
    assert (row["why"], row["double"], row["top"], row["total"], row["pending"]) == ("0.5", "1.5", "1.25", "10.25", "")
    assert "Nearly &lt;there&gt;." in room.page("ada") and "graded by hand" in room.page("ada")
    room.submit("ada", room.solved(why="Because I say so."))            # a new answer: the points stay until somebody has read it
    assert room.grade() == 0
    with room.book() as book:
        assert [(g.manual_score, g.needs_manual_grade) for g in (book.find_grade(c, NAME, NAME, "ada") for c in ("why", "check-double"))
                ] == [(0.5, True), (1.5, True)]
    assert room.table()["ada"]["pending"].split() == ["double", "why"]


def test_interrupted_and_run_again(room: Class) -> None:
    for student in ("ada", "ben", "cem"):
        room.submit(student, room.solved())
    judge = room.judge

    def interrupted(lab: str, cells: dict[str, str], which: list[str]) -> list[Verdict]:
        if len(judge.asked) == 2:
            raise KeyboardInterrupt
        return judge(lab, cells, which)

    with pytest.raises(KeyboardInterrupt):
        grade.main([NAME, "--course", str(room.folder)], interrupted)
    assert list(room.table()) == ["ada", "ben"]
    assert room.grade() == 0
    assert len(judge.asked) == 3 and list(room.table()) == ["ada", "ben", "cem"]


def test_a_referee_that_fails_again_and_again_stops_the_run(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    for student in ("ada", "ben", "cem", "dee"):
        room.submit(student, room.solved())
    room.judge.error = RefereeError("It broke.")
    assert room.grade() == 1
    assert len(room.judge.asked) == grade.GIVE_UP and "3 times in a row" in capsys.readouterr().err
    assert room.grades("ada")["double"] == (None, True)
    room.judge.error = None
    assert room.grade() == 0 and room.table()["dee"]["total"] == "10"


def test_two_graders_at_once(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("ada", room.solved())
    with journal.lock(room.folder):
        assert room.grade() == 1
    said = capsys.readouterr().err
    assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in said and "Wait until it has ended" in said
    with open(room.folder / "graded" / ".lock", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)                # free again
    assert room.grade() == 0


def test_without_a_jail_nothing_is_run(room: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("ada", room.solved())
    monkeypatch.setattr(jail, "bubblewrap_problem", lambda: "bubblewrap is not installed (apt install bubblewrap)")
    assert grade.main([NAME, "--course", str(room.folder)]) == 2
    said = capsys.readouterr().err
    assert "apt install bubblewrap" in said and "--unjailed" in said and not (room.folder / "graded").exists()

    def unjailed(lab: str, cells: dict[str, str], which: list[str]) -> list[Verdict]:
        return [v.model_copy(update={"jail": "none"}) for v in room.judge(lab, cells, which)]

    assert grade.main([NAME, "--course", str(room.folder)], unjailed) == 2
    assert not room.verdicts("ada").keys() & set(CODE)
    assert grade.main([NAME, "--course", str(room.folder), "--unjailed"], unjailed) == 0
    assert room.table()["ada"]["total"] == "10"


@pytest.mark.parametrize(("options", "says"), [
    (["--student", "adda"], "did you mean 'ada'"), (["--exercise", "dubble"], "did you mean 'double'"),
    (["--course", "/nowhere"], "no folder"),
    (["--db", "nonsense"], "cannot be used"), (["--db", "sqlite:////nowhere/at/all.db"], "cannot be used"),
    (["--db", "postgresql+nodriver://u:secret@h/d"], "cannot be used"),
])
def test_misuse_is_said_in_a_sentence(room: Class, options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("ada", room.solved())
    assert room.grade(*options) in (1, 2)
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and "secret" not in said


def test_nobody_submitted(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    (room.folder / "submitted" / "ada" / "02-later").mkdir(parents=True)
    assert room.grade() == 2
    assert "nobody has submitted 01-tiny" in capsys.readouterr().err


def test_json_and_a_choice_of_students(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    for student in ("ada", "ben"):
        room.submit(student, room.solved())
    assert room.grade("--student", "ben", "--json") == 0
    row, = json.loads(capsys.readouterr().out)
    assert (row["student"], row["total"], row["max"], row["pending"]) == ("ben", 10, 11, ["why"])
    expected = {"ratio": 30, "low": 28, "target": 20, "samples": 6, "score": 4, "jail": "bubblewrap"}
    assert {key: row["exercises"][3][key] for key in expected} == expected
    assert list(room.table()) == ["ben"]


def test_a_release_that_does_not_fit_is_refused(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    room.submit("ada", room.solved())
    old = deleted(room, "check-top")
    path = room.folder / "release" / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(old, path)
    assert room.grade() == 2 and "has no cell 'check-top'" in capsys.readouterr().err
    path.write_text("{}")
    assert room.grade() == 2 and "is not a notebook that can be read" in capsys.readouterr().err


def test_the_feedback_page_keeps_secrets_and_needs_no_network(room: Class) -> None:
    room.submit("ada", room.solved(double="def double(x): return '</pre><img src=x onerror=alert(1)>'  # wrong",
                                   why="<script>alert(2)</script>\n\nBecause."))
    assert room.grade() == 0
    page = room.page("ada")
    for bad in ("<script", "<img", "48151623", "<b>again", "src=\"", "url(http"):
        assert bad not in page, bad
    assert re.findall(r'(?<!xlink:)href="(?!#)([^"]*)"', page) == ["../../01-tiny.ipynb#How-much-is-twice-as-much?"] * 6
    assert "&lt;script&gt;alert(2)" in page and "default-src 'none'" in page
    assert "30.0" in page and "<svg" in page                    # the measured plot


def test_keys_follow_what_an_exercise_uses(tiny: course.Lab, tmp_path: Path) -> None:
    kept = journal.Journal(tmp_path, tiny)
    one, other = kept.keys({"double": "a", "total": "b"}), kept.keys({"double": "c", "total": "b"})
    assert {n for n in one if one[n] != other[n]} == {"double", "total"}


def test_a_verdict_of_tampering_stands(tiny: course.Lab) -> None:
    good = FakeJudge().verdict(NAME, "double", "fine")
    bad = good.model_copy(update={"outcome": Outcome.TAMPERED, "score": 0.0})
    assert journal.better(good, bad) is bad and journal.better(bad, good) is good


def test_text_of_a_person_flows(room: Class) -> None:
    from hpml.grade.feedback import _flowing, anchor
    assert _flowing("a\nb\n\nc\n- d\n- e\n1. f") == "a b\n\nc\n- d\n- e\n1. f"
    assert anchor("4. One product") == "4.-One-product"


def test_collect_never_raises_for_what_a_student_did(room: Class) -> None:
    handed_out = collect.release(room.lab, room.folder)
    junk: list[Any] = [None, -1, "", "\ud800", [], {}, {"grade_id": []}, True, 1e300, "raw", "check-double", ["a", 1]]
    for i, cell in enumerate(room.blank.cells):
        for field in [*cell, "metadata.nbgrader"]:
            for value in junk:
                node = json.loads(json.dumps(room.blank))
                if field == "metadata.nbgrader":
                    node["cells"][i]["metadata"]["nbgrader"] = value
                else:
                    node["cells"][i][field] = value
                found = collect.Submission("x")
                collect._sanitise(collect.reading.cells(json.dumps(node).encode(), found.notes), handed_out, found)
                assert found.notebook
                nbformat.writes(found.notebook).encode()
                assert found.answers.keys() | found.problems.keys() == room.lab.exercises.keys()
