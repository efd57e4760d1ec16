"""What was judged, and on which answer: one file per student and exercise, keyed by content, so that nothing is judged twice.

    graded/LAB/STUDENT/EXERCISE.json   {"key": hash of lab and answers, "verdict": {...}}: the evidence behind a score
    graded/LAB/STUDENT/.recorded.json  {EXERCISE: key}: what the gradebook already holds
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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
        return {name: hashlib.sha256(json.dumps([self.lab_hash, name, {n: answers.get(n) for n in needs}]).encode()).hexdigest()
                for name, needs in self.needs.items()}

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
        return stands

    def recorded(self, student: str) -> dict[str, str]:
        """Exercise → key of the answer whose score the gradebook holds."""
        try:
            return dict(json.loads((self.folder / student / ".recorded.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return {}

    def record(self, student: str, recorded: Mapping[str, str]) -> None:
        write(self.folder / student / ".recorded.json", json.dumps(recorded, indent=1, sort_keys=True).encode())


@contextmanager
def lock(course: Path) -> Iterator[None]:
    """One grader at a time in a course folder. Ends by itself with its process."""
    path = course / "graded" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            who = file.read(200).strip() or "another process"
            raise CourseError(f"Another `hpml grade` is at work in {course} ({who}). Wait until it has ended; "
                              "what it has graded will not be graded again.") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
