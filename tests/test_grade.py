"""Grading a class: from files of any quality to gradebook, feedback and table. The judge is a stand-in; the gradebook is nbgrader's."""
# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from grading import CODE, COLUMNS, NAME, Class, FakeJudge, deleted, empty_book, room  # noqa: F401

from hpml import course, grade
from hpml.grade import journal
from hpml.referee import jail
from hpml.referee.client import RefereeError
from hpml.verdict import Outcome, Verdict


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
