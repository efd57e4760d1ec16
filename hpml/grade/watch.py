"""`hpml watch`: what is submitted through nbgrader's exchange is graded as it comes, and the feedback goes back the same way.

Everybody may submit as often as they like; how soon the next submission is graded depends on how many there were: a wait that doubles,
and is forgotten after a calm day. The page that comes back says until when. Killed at any moment and started again, it goes on: a
submission counts as done only after its feedback is out, verdicts stand in the journal, and releasing a page twice changes nothing.

    graded/LAB/.watch.json   student → which submission is done, how many there were, when the last one was
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from hpml import course, grade
from hpml.build import write
from hpml.course import CourseError, Lab
from hpml.grade import collect, feedback, record
from hpml.verdict import Outcome

WAIT, LONGEST, CALM = 120.0, 2 * 3600.0, 24 * 3600.0       # seconds: after the first, at most, until it is forgotten
TRIES = 3                                                   # of a submission that could not be decided


class Post(Protocol):
    """Where submissions come from and feedback goes: nbgrader's exchange."""

    def collect(self) -> dict[str, str]: ...

    def release(self, student: str) -> str | None: ...


@dataclass
class Turn:
    """What is known of one student."""

    done: str = ""                      # the submission whose feedback is out
    told: str = ""                      # the one about which a page says that it waits
    count: int = 0                      # graded since the last calm day
    last: float = 0.0                   # when, in seconds since 1970
    tries: int = 0                      # of `done`, if it is to be tried again

    def next(self) -> float:
        """From when on the next submission is graded."""
        return self.last + min(LONGEST, WAIT * 2 ** (self.count - 1)) if self.count else 0.0


def clock(seconds: float) -> str:
    return feedback.when(datetime.datetime.fromtimestamp(seconds, datetime.UTC))


def submission(folder: Path) -> str | None:
    """What tells one submission from another: when it came, and its secret. None where it did not come through the exchange."""
    from hpml.grade import reading
    try:
        parts = [reading.small(folder / name, folder) for name in ("timestamp.txt", "submission_secret.txt")]
    except (OSError, RuntimeError, reading.Unreadable):
        return None
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


class Watch:
    """One lab of one course folder. `run(students)` grades them; `now` is the clock."""

    def __init__(self, lab: Lab, folder: Path, post: Post, run: Callable[[list[str]], list[grade.Graded]],
                 now: Callable[[], float] = time.time, say: Callable[[str], None] = print) -> None:
        self.lab, self.folder, self.post, self.run, self.now, self.say = lab, folder, post, run, now, say
        self.path = folder / "graded" / lab.lab / ".watch.json"
        self.turns = self._load()
        self._said: set[str] = set()

    def _load(self) -> dict[str, Turn]:
        try:
            return {student: Turn(**turn) for student, turn in json.loads(self.path.read_text(encoding="utf-8")).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            raise CourseError(f"{self.path} cannot be read. Remove it: every submission is then looked at once more, none is judged "
                              "again") from None

    def _save(self) -> None:
        write(self.path, json.dumps({student: asdict(turn) for student, turn in self.turns.items()}, indent=1).encode())

    def once(self, message: str) -> None:
        """Say something that holds on, but only once."""
        if message not in self._said:
            self._said.add(message)
            self.say(message)

    def round(self) -> list[str]:
        """Collect, grade whose turn it is, return feedback. Returns the students that were graded."""
        for name, why in self.post.collect().items():
            self.once(f"left in the exchange: {name!r}: {why}")
        due, now = [], self.now()
        for student in collect.students(self.folder, self.lab)[0]:
            found = submission(self.folder / "submitted" / student / self.lab.lab)
            turn = self.turns.setdefault(student, Turn())
            if found is None or (found == turn.done and not turn.tries):
                continue
            if turn.count and now - turn.last > CALM:
                turn.count = 0
            if now >= turn.next():
                due.append((student, found))
            elif turn.told != found and turn.done != found:
                feedback.waiting(self.folder, student, self.lab, "Your submission has arrived. It will be graded after "
                                 f"{clock(turn.next())}: the more often you submit, the longer the wait. Only your newest submission is "
                                 "graded.")
                self._release(student)
                turn.told = found
                self._save()
        if due:
            graded = {g.student: g for g in self.run([student for student, _ in due])}
            for student, found in due:
                self._return(graded[student], found)
        return [student for student, _ in due]

    def _return(self, graded: grade.Graded, found: str) -> None:
        """Give one student the feedback, and write down that this submission is done."""
        turn, now = self.turns[graded.student], self.now()
        undecided = any(v.outcome in (Outcome.TOO_NOISY, Outcome.INFRASTRUCTURE) for v in graded.verdicts.values())
        again = found == turn.done
        tries = turn.tries + 1 if again else 1
        new = Turn(found, found, turn.count + (not again), now, tries if undecided and tries < TRIES else 0)
        said = f"Submit again whenever you like: what comes is graded after {clock(new.next())}, and the wait grows with every time."
        if new.tries:
            said = f"What could not be decided is tried again after {clock(new.next())}, without your doing. {said}"
        feedback.add_notice(self.folder, graded.student, self.lab.lab, said)
        self._release(graded.student)
        self.turns[graded.student] = new
        self._save()

    def _release(self, student: str) -> None:
        if why := self.post.release(student):
            self.once(f"{student}: the feedback cannot be returned: {why}")


@contextmanager
def alone(folder: Path, lab: Lab) -> Iterator[None]:
    """One watcher a lab and course folder."""
    path = folder / "graded" / lab.lab / ".watch.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CourseError(f"{lab.lab} in {folder} is being watched already") from None
        yield


def main(argv: list[str], judge: grade.Judge | None = None, sleep: Callable[[float], None] = time.sleep) -> int:
    """Run `hpml watch`. Returns 0 after --once, 1 if that failed, 2 if it was called in a wrong way."""
    parser = argparse.ArgumentParser(prog="hpml watch", description="Grade what is submitted as it comes, and return feedback.",
                                     epilog="Example: hpml watch 04-conv-gemm --course ~/course. Kill and start it at any time.")
    parser.add_argument("lab")
    parser.add_argument("--course", type=Path, default=Path(), metavar="DIR", help="the course folder; default: here")
    parser.add_argument("--every", type=float, default=15.0, metavar="N", help="look every N seconds; default: 15")
    parser.add_argument("--once", action="store_true", help="look once, grade what is there, and end")
    parser.add_argument("--db", metavar="URL", help="the gradebook; default: the course folder's")
    parser.add_argument("--unjailed", action="store_true", help="run students' code although there is no jail on this machine")
    options = parser.parse_args(argv)
    from hpml.grade.exchange import Exchange

    def say(text: str) -> None:
        print(f"hpml watch: {text}", file=sys.stderr, flush=True)

    try:
        lab = course.load().lab(options.lab)
        folder = options.course.expanduser().resolve()
        if options.every <= 0:
            raise CourseError(f"--every {options.every:g}: say how many seconds to wait, such as 15")
        if judge is None and not options.unjailed:
            grade.guarded()
        db = record.url(folder, options.db)

        def run(students: list[str]) -> list[grade.Graded]:
            grading = grade.Grading(lab, folder, judge or (lambda *_: []), db=db, unjailed=options.unjailed, execute=judge is None,
                                    wait=True)
            return grade.with_referee(grading, students, judge)

        with alone(folder, lab):
            watch = Watch(lab, folder, Exchange(folder, lab.lab, db), run, say=say)
            while True:
                try:
                    watch.round()
                except CourseError as e:                    # the exchange, the gradebook or the referee: it may come back
                    watch.once(str(e))
                    if options.once:
                        return 1
                if options.once:
                    return 0
                sleep(options.every)
    except CourseError as e:
        say(str(e))
        return 2
