"""The folder of a hub: one course with its instructor, its students, and the exchange between them.

    DIR/logins.json          name → password and user number; only the hub's account may read DIR
        course/              the instructor's course folder, as nbgrader and `hpml grade` want it
        instructor/          the instructor's home
        students/NAME/       a home each
        release/             the students' distribution, made by `hpml release`; read-only for them
        exchange/            nbgrader's: outbound, inbound, feedback
        etc/{student,instructor}/    settings of Jupyter and nbgrader
        hub/                 JupyterHub's own: database, keys, log

What is there stays: a second start finds the same people, their work and the gradebook.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpml import build, course, machine
from hpml.build import release
from hpml.course import CourseError, Lab

COURSE_ID = "hpml"
INSTRUCTOR = "instructor"
FIRST_UID = 60600                       # systemd leaves 60578 to 61183 unused
NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")

QUIET = {"LabApp": {"news_url": None, "check_for_updates_class": "jupyterlab.NeverCheckForUpdate"}}       # nothing leaves the machine
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}       # and nobody is asked to
FRAME = "frame-ancestors 'self'"        # formgrader is a page inside of JupyterLab; JupyterHub would refuse to show it there
SHELL = {"terminado_settings": {"shell_command": ["/bin/bash"]}}        # a login shell would forget the PATH, and `hpml` with it
SERVER: dict[str, dict[str, Any]] = {
    "student": QUIET | {"ServerApp": SHELL | {"jpserver_extensions": {"nbgrader.server_extensions.formgrader": False,
                                                                      "nbgrader.server_extensions.course_list": False}},
                        "KernelManager": {"transport": "ipc"}},         # files of their own, not ports that others could listen to
    "instructor": QUIET | {"ServerApp": SHELL | {"jpserver_extensions": {"nbgrader.server_extensions.course_list": False},
                                                 "tornado_settings": {"headers": {"Content-Security-Policy": FRAME}}}},
}
HIDDEN = {"student": ("formgrader", "create-assignment", "course-list"), "instructor": ("course-list", "assignment-list")}

STUDENT_NBGRADER = f"""# nbgrader for students: where the exchange is, as their server sees it.
c = get_config()                # noqa: F821
c.CourseDirectory.course_id = "{COURSE_ID}"
c.Exchange.root = "/exchange"
c.Execute.timeout = 600         # seconds for one cell: a check measures
"""
INSTRUCTOR_NBGRADER = """# nbgrader for the instructor.
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import ClearSolutions

from hpml.build.notebook import ClearAnswers

c = get_config()                # noqa: F821
c.CourseDirectory.course_id = {course_id!r}
c.CourseDirectory.root = {root!r}
c.CourseDirectory.db_url = {db!r}
c.Exchange.root = {exchange!r}
c.ExchangeCollect.check_owner = {check_owner!r}         # is the one who submitted the one whose name it bears?
c.GenerateAssignment.preprocessors = [ClearAnswers if s is ClearSolutions else s for s in GenerateAssignment.preprocessors.default()]
c.Execute.timeout = 600
"""


@dataclass(frozen=True)
class Person:
    """Somebody who may log in."""

    name: str
    password: str
    uid: int

    @property
    def instructor(self) -> bool:
        return self.name == INSTRUCTOR


class ClassFolder:
    """One hub's folder; `make` brings it up to date, everything else only reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.course, self.release, self.exchange = root / "course", root / "release", root / "exchange"
        self.hub, self.logins = root / "hub", root / "logins.json"

    def home(self, person: Person) -> Path:
        return self.root / "instructor" if person.instructor else self.root / "students" / person.name

    def etc(self, person: Person) -> Path:
        return self.root / "etc" / ("instructor" if person.instructor else "student")

    def people(self) -> dict[str, Person]:
        """Everybody who may log in. Raises CourseError where the file cannot be read."""
        try:
            raw = json.loads(self.logins.read_text(encoding="utf-8")) if self.logins.exists() else {}
            return {name: Person(name, entry["password"], entry["uid"]) for name, entry in raw.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise CourseError(f"{self.logins} cannot be read; take it away and everybody gets a new password") from None

    def passwd(self) -> str:
        """This machine's users and the hub's, so that owners of files have names."""
        taken = Path("/etc/passwd").read_text(encoding="utf-8")
        students = [p for p in self.people().values() if not p.instructor]
        return taken + "".join(f"{p.name}:x:{p.uid}:{p.uid}::/home/{p.name}:/bin/bash\n" for p in students)

    # ------------------------------------------------------------------------------------------------------------------ making it

    def make(self, students: list[str], labs: list[Lab]) -> None:
        """Bring the folder up to date: these students at least, these labs handed out."""
        if self.root.exists() and any(self.root.iterdir()) and not self.logins.is_file():
            raise CourseError(f"{self.root} is not empty and no hub's folder either; name a new one with --to")
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self._people(students)
        for folder in (self.course, self.hub, self.root / "students", self.root / "instructor", self.root / "etc", self.exchange):
            folder.mkdir(exist_ok=True)
        self.exchange.chmod(0o1777)                     # nbgrader wants it writable; sticky: nobody moves what is another's
        for person in self.people().values():
            self._home(person)
        with release.instead_of(self.release, force=True) as new:
            release.write(labs, new)
            _readable(new)
        self.release.chmod(0o755)
        self._settings()
        self._labs(labs)

    def _people(self, students: list[str]) -> None:
        people = self.people()
        taken = {line.split(":")[0] for line in Path("/etc/passwd").read_text(encoding="utf-8").splitlines()}
        for name in [INSTRUCTOR, *students]:
            if not NAME.fullmatch(name) or name in taken:
                raise CourseError(f"{name!r} cannot be a name here: small letters, digits, - and _, and no account of this machine")
            uid = max([FIRST_UID, *(p.uid for p in people.values())]) + 1
            people.setdefault(name, Person(name, secrets.token_urlsafe(9), uid))
        text = json.dumps({p.name: {"password": p.password, "uid": p.uid} for p in people.values()}, indent=1)
        partial = self.logins.with_suffix(".part")
        partial.touch(0o600)
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.logins)

    def _home(self, person: Person) -> None:
        home = self.home(person)
        if not home.exists():
            home.mkdir(mode=0o700)
            card = machine.path()
            if card.is_file():                          # this machine has been measured: not again while others work on it
                kept = home / ".cache" / "hpml"
                kept.mkdir(parents=True)
                shutil.copy(card, kept / card.name)
            if os.getuid() == 0 and not person.instructor:
                for path in (home, *home.rglob("*")):
                    os.chown(path, person.uid, person.uid)

    def _settings(self) -> None:
        configs = {"student": STUDENT_NBGRADER, "instructor": INSTRUCTOR_NBGRADER.format(
            course_id=COURSE_ID, root=str(self.course), db=f"sqlite:///{self.course / 'gradebook.db'}?timeout=60",
            exchange=str(self.exchange), check_owner=os.getuid() == 0)}
        for who, text in configs.items():
            etc = self.root / "etc" / who
            page = {"disabledExtensions": {f"@jupyter/nbgrader:{name}": True for name in HIDDEN[who]}}
            build.write(etc / "nbgrader_config.py", text.encode())
            build.write(etc / "jupyter_server_config.json", json.dumps(SERVER[who], indent=1).encode())
            build.write(etc / "labconfig" / "page_config.json", json.dumps(page, indent=1).encode())
            build.write(etc / "labconfig" / "default_setting_overrides.json", json.dumps(NO_NEWS, indent=1).encode())
            _readable(etc)
        build.write(self.root / "etc" / "passwd", self.passwd().encode())
        (self.root / "etc" / "passwd").chmod(0o644)

    def _labs(self, labs: list[Lab]) -> None:
        """Source and release of each lab that is not here yet, and the release into the exchange."""
        from nbgrader.apps import NbGraderAPI
        from traitlets.config import Config
        config = Config()
        config.CourseDirectory.course_id = COURSE_ID
        config.CourseDirectory.root = str(self.course)
        config.CourseDirectory.db_url = f"sqlite:///{self.course / 'gradebook.db'}?timeout=60"
        config.Exchange.root = str(self.exchange)
        for lab in labs:
            if not (self.course / "release" / lab.lab).is_dir():
                for name, content in build.render([lab]).items():
                    kind, _, rest = name.partition("/")
                    if kind in ("solutions", "notebooks"):
                        build.write(self.course / ("source" if kind == "solutions" else "release") / rest, content)
            if not (self.exchange / COURSE_ID / "outbound" / lab.lab).is_dir():
                said = NbGraderAPI(config=config).release_assignment(lab.lab)
                if not said["success"]:
                    raise CourseError(f"nbgrader could not release {lab.lab} into {self.exchange}: {said['error'] or said['log']}")
        feedback = self.exchange / COURSE_ID / "feedback"
        feedback.mkdir(exist_ok=True)
        feedback.chmod(0o711)                           # as nbgrader makes it: to be read by who knows the name, not to be listed


def _readable(folder: Path) -> None:
    """For everybody who is shown this folder, whatever the umask."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def default() -> Path:
    return course.ROOT / ".hub" / "class"
