"""A person's Jupyter server, behind walls: bubblewrap, a user number of their own, limits on memory and processor.

A student's server sees the system and Python (read-only), the students' distribution, the exchange, and their home. It does not see
the course folder, labs/, solutions/, other homes or other people's processes. The network is the machine's: servers and hub talk over
its loopback, each with its own token. The instructor's server runs as the account that started the hub and sees what that one sees.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Any, Float, Unicode, default

from hpml import course
from hpml.hub.folder import COURSE_ID, ClassFolder, Person
from hpml.hub.limits import PROCESSES, Allowance, join
from hpml.referee.jail import _interpreter_roots

RELEASE, EXCHANGE, REFEREE = "/course", "/exchange", "/run/hpml"        # where a student's server sees them
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin")
ETC = ("alternatives", "ca-certificates.conf", "fonts", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
       "mime.types", "nsswitch.conf", "resolv.conf", "services", "ssl")
TMP_BYTES = 1 << 30


def around_student(there: ClassFolder, person: Person, referee: Path, root: bool) -> list[str]:
    """The command that puts the rest of the command line behind a student's walls. `root`: whether the hub runs as root."""
    args = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--hostname", "hub"]
    if not root:
        args += ["--unshare-user", "--uid", str(person.uid), "--gid", str(person.uid)]
    for path in SYSTEM:
        if os.path.islink(path):
            args += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            args += ["--ro-bind", path, path]
    args += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"]
    for path in _interpreter_roots():
        if not path.startswith("/usr"):
            for parent in reversed(Path(path).parents[:-1]):
                if str(parent) != "/tmp":
                    args += ["--perms", "0755", "--dir", str(parent)]
            args += ["--ro-bind", path, path]
    args += ["--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/home", "--perms", "0755", "--dir", "/run"]
    for name in ETC:
        args += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    args += ["--ro-bind", str(there.root / "etc" / "passwd"), "/etc/passwd",
             "--ro-bind", str(there.etc(person)), "/etc/jupyter-hub",
             "--bind", str(there.home(person)), f"/home/{person.name}",
             "--ro-bind", str(there.release), RELEASE,
             "--bind", str(there.exchange), EXCHANGE]
    for name in ("outbound", "feedback"):               # the instructor writes these; students only inbound/
        args += ["--ro-bind", str(there.exchange / COURSE_ID / name), f"{EXCHANGE}/{COURSE_ID}/{name}"]
    args += ["--ro-bind", str(referee), REFEREE, "--chdir", f"/home/{person.name}"]
    if root:
        args += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]          # for setpriv, and gone after it
    args += ["--"]
    return [*args, "setpriv", "--reuid", str(person.uid), "--regid", str(person.uid), "--clear-groups"] if root else args


def around_instructor(there: ClassFolder, root: bool) -> list[str]:
    """The instructor's: no walls, but an end that takes everything along, and names for the students' user numbers."""
    args = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(there.root / "etc" / "passwd"), "/etc/passwd", "--unshare-pid", "--proc",
            "/proc", "--die-with-parent", "--chdir", str(there.course)]
    return [*args, *(["--cap-add", "ALL"] if root else []), "--"]               # all: `hpml grade` makes jails in there


class WalledSpawner(LocalProcessSpawner):
    """JupyterHub's local spawner with walls and limits; see the module."""

    folder = Unicode(help="the class folder", config=True)
    referee = Unicode(help="the folder of the referee's socket", config=True)
    memory = Float(4 * 2.0 ** 30, help="bytes of memory for one person", config=True)
    cores = Float(1.0, help="processor cores for one person", config=True)
    groups = Any(help="hpml.hub.limits.Groups of this hub", config=True)

    @property
    def _there(self) -> ClassFolder:
        return ClassFolder(Path(self.folder))

    @property
    def _person(self) -> Person:
        return self._there.people()[self.user.name]

    @default("cmd")
    def _walled(self) -> list[str]:
        root = os.getuid() == 0
        around = around_instructor(self._there, root) if self._person.instructor else \
            around_student(self._there, self._person, Path(self.referee), root)
        return [*around, sys.executable, "-m", "jupyterhub.singleuser"]

    def get_args(self) -> list[str]:
        """Adds what only root's server needs."""
        return [*super().get_args(), *(["--allow-root"] if self._person.instructor and os.getuid() == 0 else [])]

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """Into the person's control groups; the user number is changed inside the walls."""
        allowed = Allowance(int(self.memory), self.cores, PROCESSES)
        person = self._person
        if person.instructor:                           # grading takes what it needs
            return lambda: None
        doors = self.groups.make(re.sub(r"\W", "_", name), allowed) if self.groups else []
        return lambda: join(doors, allowed)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """HOME and USER, and where the course is."""
        person, there = self._person, self._there
        instructor = person.instructor
        home = str(there.home(person)) if instructor else f"/home/{person.name}"
        root = str(course.ROOT) if instructor else RELEASE
        settings = str(there.etc(person)) if instructor else "/etc/jupyter-hub"
        env |= {"USER": person.name, "LOGNAME": person.name, "HOME": home, "SHELL": "/bin/bash",
                "JUPYTER_CONFIG_PATH": f"{settings}{os.pathsep}{root}/hpml/jupyter",       # these of the course as at a desk
                "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "HPML_ROOT": root, "PYTHONDONTWRITEBYTECODE": "1"}
        if not instructor:
            env |= {"PYTHONPATH": RELEASE, "HPML_REFEREE": f"{REFEREE}/referee.sock", "JUPYTER_RUNTIME_DIR": "/tmp/jupyter"}
        return env
