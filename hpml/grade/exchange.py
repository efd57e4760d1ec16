"""nbgrader's exchange, seen from the instructor's side: submissions in, feedback out.

Students can write into its inbound folder, so what lies there is taken with care: only plain files, no links, only so much, only names
that are students, and nobody in the name of somebody else where accounts tell them apart. One bad folder stops nobody else's.
"""

from __future__ import annotations

import datetime
import logging
import os
import pwd
import shutil
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbgrader.auth import Authenticator
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange import ExchangeError, ExchangeFactory
from nbgrader.exchange.default import ExchangeCollect

from hpml.course import CourseError
from hpml.grade import settings
from hpml.grade.collect import STUDENT
from hpml.grade.record import _own_tools as own_tools

FIRST = ("timestamp.txt", "submission_secret.txt")      # copied before anything else, whatever the rest amounts to
MOST_FILES = 1000
_quiet = logging.getLogger("hpml.grade.exchange")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def _files(folder: str | Path, depth: int = 8) -> Iterator[tuple[Path, int]]:
    """(plain file, its size) in a folder; links are not followed."""
    for entry in sorted(os.scandir(folder), key=lambda e: (e.name not in FIRST, not e.name.endswith(".ipynb"), e.name)):
        if entry.is_dir(follow_symlinks=False):
            if depth:
                yield from _files(entry.path, depth - 1)
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path), entry.stat(follow_symlinks=False).st_size


def copy(source: Path, to: Path, limit: int) -> None:
    """Copy plain files of at most `limit` bytes in all into `to`, which appears when all are there."""
    part = to.with_name(f".{to.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for count, (path, size) in enumerate(_files(source)):
        limit -= size
        if count >= MOST_FILES or limit < 0:
            break
        door = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(door, "rb") as file:
            if stat.S_ISREG(os.fstat(door).st_mode):        # it may have been exchanged for something else meanwhile
                target = part / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read(size))
    shutil.rmtree(to, ignore_errors=True)
    part.rename(to)


class Collect(ExchangeCollect):
    """nbgrader's own, but nothing that lies in the exchange can stop it or lead it astray. `failed`: folder → why it was left."""

    failed: dict[str, str]
    src_records: list[dict[str, Any]]

    def init_src(self) -> None:
        self.failed = {}
        super().init_src()

    def _path_to_record(self, path: str) -> dict[str, Any]:
        """One folder of the exchange; without a student's name where it is not to be collected, so that it hides no other."""
        name = os.path.basename(path)
        try:
            record = dict(super()._path_to_record(path))
            if not STUDENT.fullmatch(record["username"]):
                raise ValueError
            problem = self._foreign(path, record["username"])
        except (ExchangeError, ValueError, OverflowError, TypeError):
            problem = "its name is not STUDENT+LAB+TIME"
        except OSError as e:
            problem = str(e.strerror)
        if not problem:
            return record
        self.failed[name] = problem
        return {"username": "", "filename": name, "timestamp": datetime.datetime.min}

    def _foreign(self, path: str, student: str) -> str | None:
        """Why it is not the student's own: no folder, or of another account than the student's, ours or root's."""
        found = os.stat(path, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            return "it is not a folder"
        try:
            account = pwd.getpwnam(student).pw_uid
        except KeyError:
            return None                                     # students have no accounts here, so accounts say nothing
        if self.check_owner and found.st_uid not in (0, os.getuid(), account):
            return f"it was submitted by another account (number {found.st_uid})"
        return None

    def copy_files(self) -> None:
        for record in [r for r in self.src_records if r["username"]]:
            self.src_records = [record]
            try:
                super().copy_files()
            except (OSError, RuntimeError, ExchangeError) as e:
                self.failed[record["filename"]] = str(e)

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        copy(Path(src), Path(dest), 1000 * int(self.coursedir.max_dir_size))


class Exchange:
    """The exchange of one course, for one lab. Raises CourseError where it is not set up."""

    def __init__(self, folder: Path, lab: str, db: str) -> None:
        config = settings.config(folder)
        config.CourseDirectory.db_url = db
        self.config, self.lab = config, lab
        factory = ExchangeFactory(config=config)
        self._collect = Collect if factory.collect is ExchangeCollect else factory.collect
        self._release = factory.release_feedback
        if not CourseDirectory(config=config).course_id:
            raise CourseError(f"{folder / settings.FILE} does not name the course: add `c.CourseDirectory.course_id = \"…\"`, and "
                              "`c.Exchange.root` where the exchange is not in its usual place")

    def _made(self, kind: Any, **where: str) -> Any:
        place = CourseDirectory(config=self.config)
        place.assignment_id = self.lab
        for name, value in where.items():
            setattr(place, name, value)
        return kind(coursedir=place, authenticator=Authenticator(config=self.config), config=self.config, log=_quiet)

    def collect(self) -> dict[str, str]:
        """Newest submissions → submitted/. Returns what was left, and why. Raises CourseError where there is no exchange."""
        try:
            step = self._made(self._collect)
            step.update = True
            with own_tools():                       # it asks the gradebook for the due date, and makes one where there is none
                step.start()
        except (ExchangeError, OSError) as e:
            raise CourseError(f"nbgrader's exchange cannot be used: {e}. Where it is stands in {settings.FILE} as `c.Exchange.root`; "
                              f"`nbgrader release_assignment {self.lab}` makes the course's folders in it") from None
        return dict(getattr(step, "failed", {}))

    def release(self, student: str) -> str | None:
        """feedback/STUDENT/LAB → where only that student looks. Returns why it could not, or None."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)        # it leaves closing a file to Python
                self._made(self._release, student_id=student).start()
        except (ExchangeError, OSError, ValueError) as e:
            return str(e)
        return None


__all__ = ["Collect", "Exchange"]
