"""Killed again and again, a grader still brings the same gradebook to its end: nothing is lost, nothing is judged twice.

The writer kills itself before one of the file operations of its run, drawn at random; referees kill themselves at random requests. The
seeds are fixed, and nothing sleeps: a point to die at is a count, not a time.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import engine_stand_in
import pytest
from grading import NAME, Class, empty_book, room  # noqa: F401

from hpml import grade
from hpml.grade import engine

STUDENTS = ["ada", "ben", "cem", "dee"]
WORKERS, KILLS = 2, 34
COUNTED = ("open", "os.rename", "os.remove", "os.mkdir", "sqlite3.connect")      # where a process may well be when it is killed


def fill(room: Class) -> None:  # noqa: F811
    room.submit("ada", room.solved())
    room.submit("ben", room.solved(double="def double(x): return 0  # wrong"))
    room.submit("cem", json.dumps(room.solved()).encode()[:900])
    room.submit("dee", room.solved(total="def total(x): return double(x).sum(keepdims=True)  # mine", top="def top(x): return x  # wrong"))


def run(room: Class, deaths: frozenset[int], die_at: int | None) -> int:  # noqa: F811
    """One `hpml grade` in a process of its own, which dies at that operation. Returns how many there were; 0 where it was killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:                                # everything is imported already: this costs a hundredth of a second
        code, count = 1, 0
        try:
            os.close(read)
            me = os.getpid()

            def look(event: str, args: tuple[Any, ...]) -> None:
                nonlocal count
                if event in COUNTED and os.getpid() == me:
                    count += 1
                    if count == die_at:
                        os.kill(me, signal.SIGKILL)

            grading = grade.Grading(room.lab, room.folder, lambda *_: [],
                                    engine=lambda: engine.Local(WORKERS, lambda lane: engine_stand_in.Mortal(
                                        room.folder / "count", deaths)))
            sys.addaudithook(look)
            grading.run(STUDENTS, lambda graded: None)
            os.write(write, str(count).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    said = os.read(read, 20)
    os.close(read)
    _, status = os.waitpid(pid, 0)
    assert said or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL), f"the grader failed ({status})"
    return int(said or 0)


def outcome(room: Class) -> tuple[Any, ...]:  # noqa: F811
    """All that is left of a grading: the gradebook, the table, the verdicts, the files."""
    with room.book() as book:
        found = {s: book.find_submission_notebook(NAME, NAME, s) for s in STUDENTS}
        grades = {s: sorted((g.name, g.auto_score, g.manual_score, g.needs_manual_grade, g.extra_credit) for g in n.grades)
                  for s, n in found.items()}
        comments = {s: sorted((c.name, c.auto_comment, c.manual_comment) for c in n.comments) for s, n in found.items()}
    with sqlite3.connect(room.folder / "gradebook.db") as plain:
        tables = [name for name, in plain.execute("select name from sqlite_master where type = 'table'")]
        rows = {name: plain.execute(f"select count(*) from {name}").fetchone() for name in tables}
    plain.close()
    with open(room.folder / "grades.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    verdicts = {s: {n: v.model_dump() for n, v in room.verdicts(s).items()} for s in STUDENTS}
    files = {p.relative_to(room.folder).as_posix() for p in room.folder.rglob("*") if p.is_file() and ".same" not in p.parts}
    return grades, comments, rows, table, verdicts, files


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_gradebook_that_was_killed_at_random_points_is_that_of_an_undisturbed_run(room: Class, tmp_path: Path) -> None:  # noqa: F811
    fill(room)
    shutil.copytree(room.folder, tmp_path / "begin")
    operations = run(room, frozenset(), None)
    undisturbed, least = outcome(room), (room.folder / "count").stat().st_size
    assert operations > KILLS and least == 6 and undisturbed[3][0]["total"] == "10"

    draw, kills = random.Random(20), 0
    while kills < KILLS:
        shutil.rmtree(room.folder)
        shutil.copytree(tmp_path / "begin", room.folder)
        deaths, before = frozenset(draw.sample(range(1, 3 * least), 2)), kills
        while not run(room, deaths, draw.randint(1, operations)):
            kills += 1
        assert outcome(room) == undisturbed
        lost = WORKERS * (kills - before) + len(deaths)         # what was being judged at that moment, and nothing that was journaled
        assert (room.folder / "count").stat().st_size <= least + lost
