"""What was judged, and on which answer: one file per student and exercise, keyed by content, so that nothing is judged twice.

    graded/LAB/STUDENT/EXERCISE.json   {"key": hash of lab and answers, "verdict": {...}}: the evidence behind a score
    graded/LAB/STUDENT/.recorded.json  {EXERCISE: key}: what the gradebook already holds
    graded/LAB/STUDENT/.executed.json  {"key": hash of the notebook, "outputs": {cell: [...]}}: what its cells showed
    graded/LAB/.same/KEY               a student whose verdict on these very answers holds for others, too

Each file is written whole or not at all, so a grader that is killed leaves nothing half done. Two students with the very same answer
share a verdict where nothing was measured: right is right. A time belongs to the run that took it, so each is measured for itself.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpml import exercise
from hpml.build import write
from hpml.course import CourseError, Lab
from hpml.verdict import Outcome, Verdict


def better(old: Verdict | None, new: Verdict) -> Verdict:
    """Which of two verdicts on the same answer stands: running again never lowers a score, tampering excepted."""
    if old is None or old.outcome.pending or new.outcome is Outcome.TAMPERED:
        return new
    if new.outcome.pending or old.score > new.score:
        note = f"A later check of the same answer ended in “{new.outcome}”; running again never lowers a score."
        kept = old.model_copy(deep=True)
        kept.notes = [*(n for n in old.notes if n != note), note]
        return kept
    return new


RULES = 1                       # of judging: raised where old verdicts no longer hold
CLEAR = (Outcome.PASS, Outcome.PARTIAL, Outcome.WRONG, Outcome.NOT_ATTEMPTED)


def shareable(verdict: Verdict) -> bool:
    """Whether it holds for the same answer of somebody else: nothing in it was measured, and nothing hangs on the machine."""
    return verdict.outcome in CLEAR and not verdict.measured and verdict.predicted is None and "peak_bytes" not in verdict.counters


class Journal:
    """The journal of one lab in one course folder."""

    def __init__(self, course: Path, lab: Lab) -> None:
        self.folder = course / "graded" / lab.lab
        self.lab_hash = exercise.lab_hash(lab)
        declared = exercise.load(lab)

        def needed(name: str, seen: set[str]) -> set[str]:
            if name not in seen:
                seen.add(name)
                for used in declared[name].uses if name in declared else ():
                    needed(used, seen)
            return seen

        self.needs = {name: sorted(needed(name, set())) for name in lab.exercises}

    def keys(self, answers: Mapping[str, str]) -> dict[str, str]:
        """Exercise → hash of all that its verdict depends on: the lab, the answer, and the answers to the exercises that it uses."""
        return {name: hashlib.sha256(json.dumps([RULES, self.lab_hash, name, {n: answers.get(n) for n in needs}]).encode()).hexdigest()
                for name, needs in self.needs.items()}

    def notebook_key(self, code: str) -> str:
        """Hash of all that a run of a notebook depends on."""
        return hashlib.sha256(json.dumps([RULES, self.lab_hash, code]).encode()).hexdigest()

    def load(self, student: str, name: str) -> tuple[str, Verdict] | None:
        """(key, verdict), or None where there is none that can be read: then it is judged again."""
        try:
            entry = json.loads((self.folder / student / f"{name}.json").read_text(encoding="utf-8"))
            return str(entry["key"]), Verdict.model_validate(entry["verdict"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    def keep(self, student: str, key: str, new: Verdict) -> Verdict:
        """Save the verdict that stands for this answer, and return it."""
        old = self.load(student, new.exercise)
        stands = better(old[1] if old and old[0] == key else None, new)
        text = json.dumps({"key": key, "verdict": stands.model_dump(mode="json")}, indent=1)
        write(self.folder / student / f"{new.exercise}.json", text.encode())
        if shareable(stands) and not (self.folder / ".same" / key).exists():
            write(self.folder / ".same" / key, student.encode())
        return stands

    def same(self, key: str, name: str) -> Verdict | None:
        """A verdict on the very same answers of somebody else, where it holds for them all."""
        try:
            found = self.load((self.folder / ".same" / key).read_text(encoding="utf-8"), name)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return found[1] if found and found[0] == key and shareable(found[1]) else None

    def recorded(self, student: str) -> dict[str, str]:
        """Exercise → key of the answer whose score the gradebook holds."""
        try:
            return dict(json.loads((self.folder / student / ".recorded.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return {}

    def record(self, student: str, recorded: Mapping[str, str]) -> None:
        write(self.folder / student / ".recorded.json", json.dumps(recorded, indent=1, sort_keys=True).encode())


    def executed(self, student: str) -> tuple[str, dict[str, Any]] | None:
        """(key, outputs by cell) of the notebook that was run last."""
        try:
            entry = json.loads((self.folder / student / ".executed.json").read_text(encoding="utf-8"))
            return str(entry["key"]), dict(entry["outputs"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    def execute(self, student: str, key: str, outputs: Mapping[str, Any]) -> None:
        write(self.folder / student / ".executed.json", json.dumps({"key": key, "outputs": outputs}).encode())


def tidy(course: Path, lab: Lab, students: Iterable[str]) -> None:
    """Remove what a grader that was killed had half written. To be called by the one that holds the lock."""
    places = [course, course / "graded" / lab.lab / ".same"]
    for student in students:
        places += [course / "graded" / lab.lab / student, course / "autograded" / student / lab.lab,
                   course / "feedback" / student / lab.lab]
    for place in places:
        for left in place.glob(".*.part"):
            left.unlink(missing_ok=True)


@contextmanager
def lock(course: Path, wait: bool = False) -> Iterator[None]:
    """One grader at a time in a course folder: the second is told who is first, or waits. Ends by itself with its process."""
    path = course / "graded" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            who = file.read(300).strip() or "another process"
            if not wait:
                raise CourseError(f"Another `hpml grade` is at work in {course} ({who}). Wait until it has ended (--wait does); "
                                  "what it has graded will not be graded again.") from None
            print(f"hpml grade: waiting for another `hpml grade` in {course} ({who}).", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{_user()}, process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):         # a container without a name for this uid
        return f"user {os.getuid()}"
