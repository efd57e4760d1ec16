"""What one person's server may use, all its processes together: memory, processor time, number of processes.

Held by the kernel's control groups, version 2 or the older 1, where this account may make them; else by limits on each process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

PERIOD = 100_000                        # µs over which processor time is shared out
PROCESSES = 512                         # threads count


@dataclass(frozen=True)
class Allowance:
    """Bytes of memory, processor cores, processes and threads."""

    memory: int
    cores: float
    processes: int = PROCESSES

    def files(self, version: int) -> dict[str, str]:
        """controller/file → content."""
        quota = str(int(self.cores * PERIOD))
        if version == 2:
            return {"memory.max": str(self.memory), "memory.swap.max": "0", "cpu.max": f"{quota} {PERIOD}", "pids.max": str(self.processes)}
        return {"memory/memory.limit_in_bytes": str(self.memory), "cpu/cpu.cfs_quota_us": quota, "pids/pids.max": str(self.processes)}


class Groups:
    """The control groups of one hub. `version` is 0 where it cannot make any."""

    def __init__(self, name: str, root: Path = Path("/sys/fs/cgroup")) -> None:
        self.name, self.root = name, root
        self.version = self._begin()

    def _tops(self) -> list[Path]:
        """The hub's own groups: one, or one for each controller."""
        if (self.root / "cgroup.controllers").is_file():
            return [self.root / self.name]
        return [self.root / controller / self.name for controller in ("memory", "cpu", "pids")]

    def _begin(self) -> int:
        version = 2 if (self.root / "cgroup.controllers").is_file() else 1
        try:
            if version == 1 and not all(top.parent.is_dir() for top in self._tops()):
                return 0
            for top in self._tops():
                top.mkdir(exist_ok=True)
            if version == 2:
                for folder in (self.root, self.root / self.name):
                    (folder / "cgroup.subtree_control").write_text("+memory +cpu +pids")
        except OSError:
            self.remove()
            return 0
        return version

    def make(self, user: str, allowed: Allowance) -> list[Path]:
        """A group for one server. Returns the files that a process writes "0" into to join it; empty where there are no groups."""
        if not self.version:
            return []
        doors: set[Path] = set()
        for name, content in allowed.files(self.version).items():
            controller, _, file = name.rpartition("/")
            folder = self.root / controller / self.name / user
            folder.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError, PermissionError):       # a kernel without swap accounting, say
                _write(folder / file, content)
            doors.add(folder / "cgroup.procs")
        return sorted(doors)

    def remove(self) -> None:
        """Every group of this hub that is empty; what just ended may take the kernel a moment."""
        for top in self._tops():
            for folder in [*(top.iterdir() if top.is_dir() else ()), top]:
                for _ in range(20 if folder.is_dir() else 0):
                    try:
                        folder.rmdir()
                        break
                    except OSError:
                        time.sleep(0.05)


def _write(file: Path, content: str) -> None:
    """Into a file that the kernel has put there: never a new one."""
    with open(os.open(file, os.O_WRONLY), "w") as opened:
        opened.write(content)


def join(doors: list[Path], allowed: Allowance) -> None:
    """Called in the new process, before it becomes the server: into its groups, or under limits of its own."""
    for door in doors:
        _write(door, "0")
    if not doors:
        resource.setrlimit(resource.RLIMIT_DATA, (allowed.memory, allowed.memory))
