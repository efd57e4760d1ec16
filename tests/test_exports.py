"""Grades for other programs, and what late work loses: through nbgrader's own gradebook and plugin."""

from __future__ import annotations

import csv
import datetime
import io
import json

import pytest
from tiny_class import NAME, Class

from hpml import course, exercise
from hpml.course import CourseError
from hpml.grade import due, exports, feedback, record

TITLE = "01-tiny How much is twice as much?"
HALF = '''
c.AssignLatePenalties.plugin_class = "late_rule.Half"
'''
RULE = '''
from nbgrader.plugins import LateSubmissionPlugin


class Half(LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score / 2
'''


@pytest.fixture
def graded(room: Class, tmp_path_factory: pytest.TempPathFactory) -> Class:
    """ada has everything but a read text, ben no text and one wrong answer."""
    def make() -> None:
        room.submit("ada", room.solved(), "2026-03-01 10:00:00 UTC")
        room.submit("ben", room.solved(double="def double(x): return 3 * x  # wrong", why=""), "2026-03-01 12:00:00 UTC")

    room.once(tmp_path_factory.getbasetemp() / "exports", make)
    return room


def export(room: Class, form: str, lab: str = NAME) -> str:
    to = room.folder / f"out.{form}"
    assert exports.main([lab, "--course", str(room.folder), "--format", form, "--to", str(to)]) == 0
    return to.read_bytes().decode()


def test_csv_is_the_table_of_the_gradebook(graded: Class) -> None:
    assert export(graded, "csv") == (graded.folder / "grades.csv").read_text()


@pytest.mark.parametrize("form", ["canvas", "moodle"])
def test_a_learning_platform_gets_no_part_of_a_grade(graded: Class, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with exports.opened(graded.folder, None) as book:
        book.book.update_or_create_student("ben", first_name="Ben", last_name="O'Neil, Jr.", email="ben@x.org", lms_user_id="417")
        book.book.db.commit()
    rows = list(csv.reader(io.StringIO(export(graded, form))))
    if form == "canvas":
        assert rows == [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", TITLE], ["    Points Possible", "", "", "", "", "11"],
                        ["ada", "", "", "ada", "", ""], ["O'Neil, Jr., Ben", "417", "", "ben", "", "8"]]
    else:
        assert rows == [["First name", "Last name", "ID number", "Email address", f"Assignment: {TITLE} (Real)"],
                        ["", "", "ada", "", ""], ["Ben", "O'Neil, Jr.", "ben", "ben@x.org", "8"]]
    assert "1 cell is empty" in capsys.readouterr().err
    with exports.opened(graded.folder, None) as book:               # a person reads ada's text
        found = book.book.find_grade("why", NAME, NAME, "ada")
        found.manual_score, found.needs_manual_grade = 1.0, False
        book.book.db.commit()
    assert export(graded, form).count(",11\r\n") == 2 - (form == "moodle")


def test_json_holds_the_evidence(graded: Class) -> None:
    ada, ben = json.loads(export(graded, "json", "all"))
    assert (ada["student"], ada["total"], ada["max"], ada["pending"]) == ("ada", 10, 11, ["why"])
    total = ada["exercises"]["total"]
    assert total["score"] == 4 and len(total["verdict"]["measured"][0]["samples"]) == 6
    assert total["verdict"]["evidence"]["machine"] == "a machine, 2 cores"
    assert ben["exercises"]["double"]["verdict"]["outcome"] == "wrong" and ben["exercises"]["double"]["signature"] is None


def test_nothing_graded_is_said_and_makes_no_gradebook(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    assert exports.main([NAME, "--course", str(room.folder)]) == 2
    assert "nothing of 01-tiny is graded" in capsys.readouterr().err
    (room.folder / "gradebook.db").unlink()
    assert exports.main([NAME, "--course", str(room.folder)]) == 2
    assert "hpml grade" in capsys.readouterr().err and not (room.folder / "gradebook.db").exists()


def test_the_gradebook_is_where_nbgrader_is_told_that_it_is(room: Class) -> None:
    (room.folder / "nbgrader_config.py").write_text(f'c = get_config()\nc.CourseDirectory.db_url = "sqlite:///{room.folder}/other.db"\n')
    (room.folder / "gradebook.db").rename(room.folder / "other.db")
    room.submit("ada", room.solved())
    assert room.grade() == 0 and not (room.folder / "gradebook.db").exists()
    assert "ada,01-tiny" in export(room, "csv")


# ---------------------------------------------------------------------------------------------------------------- late work


def set_due(room: Class, *options: str) -> int:
    return due.main([NAME, "--course", str(room.folder), *options])


def points(room: Class, student: str) -> tuple[str, str]:
    """(total, taken off) as grades.csv has them."""
    row = next(r for r in csv.DictReader(io.StringIO((room.folder / "grades.csv").read_text())) if r["student"] == student)
    return row["total"], row["late_penalty"]


def test_late_work_loses_what_the_plugin_says_and_an_extension_gives_it_back(graded: Class) -> None:
    (graded.folder / "nbgrader_config.py").write_text("c = get_config()\n" + HALF)
    (graded.folder / "late_rule.py").write_text(RULE)
    assert set_due(graded, "--at", "2026-03-01 12:00+01:00") == 0               # 11:00 UTC
    assert graded.grade() == 0
    assert points(graded, "ada") == ("10", "0") and points(graded, "ben") == ("4", "4")
    assert "Due 2026-03-01 11:00 UTC; handed in 60 minutes late, 4 points taken off for that." in graded.page("ben")
    assert "<b>4</b> of 11 points" in graded.page("ben") and "Due 2026-03-01 11:00 UTC.<" in graded.page("ada")
    asked = len(graded.judge.asked)
    assert set_due(graded, "--extend", "ben=2h") == 0 and graded.grade() == 0
    assert points(graded, "ben") == ("8", "0") and len(graded.judge.asked) == asked
    assert "Due 2026-03-01 13:00 UTC, with your extension of 2 hours." in graded.page("ben")
    assert set_due(graded, "--extend", "ben=0d") == 0 and graded.grade() == 0
    assert points(graded, "ben") == ("4", "4")
    with exports.opened(graded.folder, None) as book:                           # what nbgrader's own export will say
        assert book.book.find_submission(NAME, "ben").late_submission_penalty == 4


def test_nbgraders_own_method(graded: Class) -> None:
    (graded.folder / "nbgrader_config.py").write_text('c = get_config()\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    set_due(graded, "--at", "2026-03-01 11:00")
    assert graded.grade() == 0
    assert points(graded, "ben") == ("0", "8") and points(graded, "ada") == ("10", "0")
    assert json.loads(export(graded, "json"))[1]["late"] == {"due": "2026-03-01T11:00:00Z", "seconds": 3600, "extension_seconds": 0,
                                                             "penalty": 8}


def test_without_a_method_nothing_is_taken_off_but_said(graded: Class) -> None:
    set_due(graded, "--at", "2026-02-27 11:00")
    assert graded.grade() == 0
    assert points(graded, "ben") == ("8", "0") and "2 days and 1 hour late, nothing is taken off for that" in graded.page("ben")


def test_an_extension_for_somebody_who_has_not_submitted_yet(room: Class) -> None:
    (room.folder / "nbgrader_config.py").write_text('c = get_config()\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    assert set_due(room, "--at", "2026-03-01 11:00", "--extend", "ada=1d") == 0
    room.submit("ben", room.solved(), "2026-03-01 10:00:00 UTC")
    assert room.grade() == 0 and "ada" not in (room.folder / "grades.csv").read_text()
    room.submit("ada", room.solved(), "2026-03-02 10:00:00 UTC")
    assert room.grade() == 0 and points(room, "ada") == ("10", "0")


def test_the_date_of_the_manifest(tiny: course.Lab) -> None:
    text = (course.ROOT / "course.yml").read_text()
    dated = course.parse(text.replace("    minutes: 5\n", "    minutes: 5\n    due: 2026-03-01 11:00:00 +01:00\n"))
    late = dated.lab(NAME)
    assert late.due == datetime.datetime(2026, 3, 1, 10, tzinfo=datetime.UTC)
    assert exercise.lab_hash(late) == exercise.lab_hash(tiny)                   # nothing is judged again because a date moved
    with pytest.raises(CourseError, match="say the time of day"):
        course.parse(text.replace("    minutes: 5\n", "    minutes: 5\n    due: 2026-03-01\n"))


def test_the_manifests_date_reaches_the_book(graded: Class, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    late = graded.lab.model_copy(update={"due": datetime.datetime(2026, 3, 1, 11, tzinfo=datetime.UTC)})
    monkeypatch.setattr(course.Course, "lab", lambda self, name: late)
    assert graded.grade() == 0 and "60 minutes late" in graded.page("ben")
    assert set_due(graded, "--at", "2026-03-01 12:00") == 2 and "change it there" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "said", "says"), [
    ("--at", "tomorrow", "write it like"), ("--at", "2026-03-01", "write it like"), ("--extend", "ada", "ada=2d"),
    ("--extend", "../x=2d", "ada=2d"), ("--extend", "ada=2y", "ada=2d")])
def test_misuse_is_said_in_a_sentence(room: Class, option: str, said: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert set_due(room, option, said) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1


def test_a_rule_that_does_not_work_is_said(graded: Class, capsys: pytest.CaptureFixture[str]) -> None:
    (graded.folder / "nbgrader_config.py").write_text("c = get_config()\n" + HALF.replace("late_rule", "no_such_rule"))
    set_due(graded, "--at", "2026-03-01 11:00")
    capsys.readouterr()
    assert graded.grade() == 1
    assert "The penalty for late work cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "said"), [(20, "1 minute"), (3600, "60 minutes"), (7200, "2 hours"), (90000, "1 day and 1 hour"),
                                               (86400 * 2, "2 days")])
def test_durations(seconds: float, said: str) -> None:
    assert feedback.duration(seconds) == said


def test_points_are_never_below_zero() -> None:
    marks = record.Marks(top=record.Mark(1.0, 1.0, False, False))
    marks.late = record.Late(penalty=3.0)
    assert record.total(marks) == 0
