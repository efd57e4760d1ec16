"""Grading on submit: whose turn it is, what is told, what survives a kill, and a real exchange with people who misuse it."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from nbgrader.auth import Authenticator
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import ExchangeFactory
from tiny_class import NAME, Class
from traitlets.config import Config

from hpml import course, grade
from hpml.course import CourseError
from hpml.grade import feedback, watch
from hpml.verdict import Outcome, Verdict

NOON = 1_800_000_000.0


class FakePost:
    """An exchange that only remembers what was returned."""

    def __init__(self) -> None:
        self.returned: list[str] = []
        self.left: dict[str, str] = {}

    def collect(self) -> dict[str, str]:
        return self.left

    def release(self, student: str) -> str | None:
        self.returned.append(student)
        return None


class Room(Class):
    """The class under watch, with a clock that only we move; the grader is a stand-in that writes a page."""

    def __init__(self, folder: Path, lab: course.Lab) -> None:
        super().__init__(folder, lab)
        self.post, self.time, self.said, self.runs = FakePost(), NOON, list[str](), list[list[str]]()
        self.outcome = Outcome.PASS

    def run(self, students: list[str]) -> list[grade.Graded]:
        self.runs.append(students)
        for student in students:
            page = self.folder / "feedback" / student / NAME / f"{NAME}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("<header>Graded.</header>")
        verdict = Verdict(lab=NAME, exercise="top", outcome=self.outcome, score=0, max_score=1, message="")
        return [grade.Graded(student, {"top": verdict}, {}) for student in students]

    def watch(self) -> watch.Watch:
        return watch.Watch(self.lab, self.folder, self.post, self.run, lambda: self.time, self.said.append)


@pytest.fixture
def room(tiny: course.Lab, tmp_path: Path) -> Room:
    return Room(tmp_path / "course", tiny)


def test_a_submission_is_graded_once(room: Room) -> None:
    room.submit("ada", room.solved(), "2026-03-01 10:00:00 UTC")
    here = room.watch()
    assert here.round() == ["ada"] and room.post.returned == ["ada"]
    assert here.round() == [] == room.watch().round()               # a new one, started later, knows it too
    assert room.runs == [["ada"]] and "Submit again whenever you like" in room.page("ada")


def test_the_wait_doubles_is_told_and_is_forgotten(room: Room) -> None:
    here = room.watch()
    for n in range(3):
        room.submit("ada", room.solved(), f"2026-03-01 10:00:0{n} UTC")
        wait = watch.WAIT * 2 ** (n - 1) if n else 0.0
        if n:
            room.time += wait - 1
            assert here.round() == []
            until = watch.clock(room.time + 1)
            assert f"It will be graded after {until}" in room.page("ada") and "Graded." not in room.page("ada")
            told = len(room.post.returned)
            assert here.round() == [] and len(room.post.returned) == told           # told once
            room.time += 1
        assert here.round() == ["ada"] and "Graded." in room.page("ada")
        assert watch.clock(room.time + watch.WAIT * 2 ** n) in room.page("ada")
    room.submit("ada", room.solved(), "2026-03-02 10:00:00 UTC")
    room.time += watch.CALM + 1
    assert here.round() == ["ada"] and here.turns["ada"].count == 1


def test_the_wait_has_an_end() -> None:
    assert watch.Turn(count=500, last=NOON).next() == NOON + watch.LONGEST


def test_one_student_does_not_wait_for_another(room: Room) -> None:
    here = room.watch()
    room.submit("ada", room.solved(), "2026-03-01 10:00:00 UTC")
    here.round()
    room.submit("ada", room.solved(), "2026-03-01 10:00:01 UTC")
    room.submit("ben", room.solved(), "2026-03-01 10:00:01 UTC")
    assert here.round() == ["ben"]


def test_what_did_not_come_through_the_exchange_is_left_alone(room: Room) -> None:
    room.submit("ada", room.solved())
    assert room.watch().round() == [] and room.post.returned == []


def test_what_could_not_be_decided_is_tried_again_but_not_for_ever(room: Room) -> None:
    room.outcome = Outcome.TOO_NOISY
    room.submit("ada", room.solved(), "2026-03-01 10:00:00 UTC")
    here = room.watch()
    for n in range(watch.TRIES):
        assert here.round() == ["ada"] and ("tried again" in room.page("ada")) == (n + 1 < watch.TRIES)
        assert here.round() == []
        room.time += watch.WAIT
    assert here.round() == [] and here.turns["ada"].count == 1      # the student does not wait longer for it


@pytest.mark.parametrize("at", ["run", "notice", "release", "save"])
def test_killed_anywhere_nothing_is_lost(room: Room, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> str | None:
        raise Killed

    room.submit("ada", room.solved(), "2026-03-01 10:00:00 UTC")
    with monkeypatch.context() as now:
        here = room.watch()
        if at == "run":
            here.run = killed  # type: ignore[assignment, return-value]
        elif at == "notice":
            now.setattr(feedback, "add_notice", killed)
        else:
            now.setattr(here.post if at == "release" else here, "release" if at == "release" else "_save", killed)
        with pytest.raises(Killed):
            here.round()
    assert room.watch().round() == ["ada"] and room.post.returned[-1] == "ada"
    assert room.watch().round() == [] and room.watch().turns["ada"].count == 1
    assert room.page("ada").count("Submit again") == 1


def test_what_stays_wrong_is_said_once(room: Room) -> None:
    room.post.left = {"x+y": "its name is not one"}
    here = room.watch()
    here.round()
    here.round()
    assert len(room.said) == 1 and "its name is not one" in room.said[0]


def test_a_notebook_of_state_that_is_damaged_is_said(room: Room) -> None:
    path = room.folder / "graded" / NAME / ".watch.json"
    path.parent.mkdir(parents=True)
    path.write_text("[1]")
    with pytest.raises(CourseError, match="Remove it"):
        room.watch()


# ------------------------------------------------------------------------------------------------------- a real exchange


class Course(Class):
    """A course folder and nbgrader's own exchange beside it."""

    def __init__(self, folder: Path, lab: course.Lab) -> None:
        super().__init__(folder, lab)
        self.exchange = folder.parent / "exchange"
        self.exchange.mkdir()
        self.exchange.chmod(0o777)
        release = folder / "release" / NAME / f"{NAME}.ipynb"
        release.parent.mkdir(parents=True)
        release.write_text(json.dumps(self.blank))
        (folder / "nbgrader_config.py").write_text(
            f'c = get_config()\nc.CourseDirectory.course_id = "class"\nc.Exchange.root = "{self.exchange}"\n')
        ExchangeFactory().release_assignment(**self.about("teacher")).start()
        self.inbound = self.exchange / "class" / "inbound"

    def about(self, who: str) -> dict[str, Any]:
        desk = self.folder.parent / "home" / who
        desk.mkdir(parents=True, exist_ok=True)
        config = Config({"Exchange": {"root": str(self.exchange), "cache": str(desk / "cache"), "assignment_dir": str(desk)}})
        place = CourseDirectory(config=config, course_id="class", assignment_id=NAME, root=str(self.folder))
        if who != "teacher":
            place.student_id = who
        return {"coursedir": place, "authenticator": Authenticator(config=config), "config": config}

    def hand_in(self, who: str, content: bytes) -> Path:
        """What `nbgrader submit` does for this student; the folder in the exchange that it made."""
        before = set(self.inbound.iterdir())
        work = self.folder.parent / "home" / who / NAME
        work.mkdir(parents=True, exist_ok=True)
        (work / f"{NAME}.ipynb").write_bytes(content)
        ExchangeFactory().submit(**self.about(who)).start()
        return (set(self.inbound.iterdir()) - before).pop()

    def fetched(self, who: str) -> list[str]:
        """The pages that `nbgrader fetch_feedback` brings this student, the oldest first."""
        ExchangeFactory().fetch_feedback(**self.about(who)).start()
        return [p.read_text(encoding="utf-8") for p in sorted((self.folder.parent / "home" / who / NAME / "feedback").glob("*/*.html"))]

    def look(self) -> int:
        return watch.main([NAME, "--course", str(self.folder), "--once"], self.judge)


@pytest.fixture
def place(tiny: course.Lab, tmp_path: Path) -> Course:
    return Course(tmp_path / "course", tiny)


def test_from_submit_to_feedback_through_a_real_exchange(place: Course) -> None:
    place.hand_in("ada", place.solved())
    place.hand_in("ben", place.solved(double="def double(x): return 3 * x  # wrong"))
    assert place.look() == 0
    assert "<b>10</b> of 11 points" in place.fetched("ada")[0] and "<b>8</b> of 11 points" in place.fetched("ben")[0]
    asked = len(place.judge.asked)
    assert place.look() == 0 and len(place.judge.asked) == asked
    place.hand_in("ben", place.solved())                            # better now, but the wait is not over
    assert place.look() == 0 and len(place.judge.asked) == asked
    first, second = place.fetched("ben")
    assert "<b>8</b> of 11" in first and "Your submission has arrived" in second and "of 11 points" not in second
    with sqlite3.connect(place.folder / "gradebook.db") as db:
        assert db.execute("select count(*) from submitted_assignment where timestamp is not null").fetchone() == (2,)


def test_nobody_reads_anothers_feedback(place: Course) -> None:
    place.hand_in("ada", place.solved())
    assert place.look() == 0
    pages = list((place.exchange / "class" / "feedback").glob("*.html"))
    assert len(pages) == 1 and "ada" not in pages[0].name
    assert not (place.exchange / "class" / "feedback").stat().st_mode & 0o044                   # the folder cannot be listed
    assert place.fetched("ben") == []


def test_links_in_the_exchange_lead_nowhere(place: Course, capsys: pytest.CaptureFixture[str]) -> None:
    secret = place.folder / "solved.ipynb"
    secret.write_bytes(place.solved())
    handed_in = place.hand_in("eve", b"")
    (handed_in / f"{NAME}.ipynb").unlink()
    (handed_in / f"{NAME}.ipynb").symlink_to(secret)
    (handed_in / "all").symlink_to("/")
    os.mkfifo(handed_in / "pipe")
    place.hand_in("ada", place.solved())
    assert place.look() == 0
    assert sorted(p.name for p in (place.folder / "submitted" / "eve" / NAME).iterdir()) == ["submission_secret.txt", "timestamp.txt"]
    assert "holds no notebook" in place.fetched("eve")[0] and "<b>10</b> of 11" in place.fetched("ada")[0]


def test_odd_folders_in_the_exchange_stop_nobody(place: Course, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (f"eve+{NAME}+never", f"..+{NAME}+2026-03-01 10:00:00 UTC", f"+{NAME}+2026-03-01 10:00:00 UTC",
                 f"=1+{NAME}+2026-03-01 10:00:00 UTC", f"{NAME}+{NAME}+"):
        (place.inbound / name).mkdir()
    (place.inbound / f"file+{NAME}+2026-03-01 10:00:00 UTC").write_text("no folder")
    place.hand_in("ada", place.solved())
    assert place.look() == 0
    assert [p.parent.name for p in (place.folder / "submitted").glob("*/*")] == ["ada"]
    assert not (place.folder / NAME).exists()
    said = capsys.readouterr().err
    assert said.count("left in the exchange") == 5 and "Traceback" not in said


def test_a_flood_is_cut_off_and_the_notebook_still_graded(place: Course) -> None:
    handed_in = place.hand_in("eve", place.solved())
    with open(handed_in / "big.bin", "wb") as file:
        file.truncate(1 << 40)
    (handed_in / "deep" / "er").mkdir(parents=True)
    for n in range(1100):
        (handed_in / "deep" / "er" / f"{n}.txt").write_text("x")
    assert place.look() == 0
    kept = [p for p in (place.folder / "submitted" / "eve" / NAME).rglob("*") if p.is_file()]
    assert len(kept) <= 1000 and sum(p.stat().st_size for p in kept) < 1e6
    assert "<b>10</b> of 11" in place.fetched("eve")[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of somebody else")
def test_nobody_submits_in_the_name_of_another_account(place: Course, capsys: pytest.CaptureFixture[str]) -> None:
    place.hand_in("daemon", place.solved())
    os.chown(place.hand_in("daemon", place.solved(double="raise SystemExit  # wrong")), pwd.getpwnam("nobody").pw_uid, -1)
    assert place.look() == 0
    assert "<b>10</b> of 11" in place.page("daemon") and "submitted by another account" in capsys.readouterr().err


def test_without_an_exchange_it_says_what_to_do(place: Course, capsys: pytest.CaptureFixture[str]) -> None:
    config = place.folder / "nbgrader_config.py"
    config.write_text(config.read_text().replace(str(place.exchange), "/nowhere"))
    assert place.look() == 1
    assert "c.Exchange.root" in capsys.readouterr().err
    config.write_text("c = get_config()\n")
    assert place.look() == 2
    assert "c.CourseDirectory.course_id" in capsys.readouterr().err
    config.write_text("c = nonsense\n")
    assert place.look() == 2
    assert "cannot be used: NameError" in capsys.readouterr().err


def test_only_one_watches(place: Course, capsys: pytest.CaptureFixture[str]) -> None:
    with watch.alone(place.folder, place.lab):
        assert place.look() == 2
    assert "being watched already" in capsys.readouterr().err


def test_it_looks_again_and_again(place: Course) -> None:
    class Enough(Exception):
        pass

    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise Enough

    with pytest.raises(Enough):
        watch.main([NAME, "--course", str(place.folder), "--every", "7"], place.judge, sleep)
    assert naps == [7.0] * 3
