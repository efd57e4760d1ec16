"""`hpml doctor`: what this machine has and lacks, what does not work without it, and how to get it.

`look` gathers the facts, `judge` turns them into findings without touching the machine, `main` prints them.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpml import doctor_gpu
from hpml.referee import jail

GIB = 1 << 30
PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "horovod", "jupyterlab", "nbgrader")
TOOLS = ("g++", "make", "git", "sbatch", "mpirun", "node", "npm")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PYTHONS = ((3, 11), (3, 12))
# sysctl → (the value that keeps unprivileged users from making namespaces, the value that lets them)
NAMESPACES = {
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "user.max_user_namespaces": ("0", "15000"),
}

Status = Literal["ok", "problem", "optional"]


@dataclass(frozen=True)
class Facts:
    """What was seen on a machine. Sizes in bytes; a tool that is not there is ""."""

    system: str                         # "Linux x86_64"
    distribution: str                   # ID and ID_LIKE of /etc/os-release, e.g. "ubuntu debian"
    python: tuple[int, int]
    packages: Mapping[str, str]         # distribution → version; a missing one is not in it
    cpu_flags: frozenset[str]
    cores: int                          # that this process may use
    memory: int                         # of the machine, or what its cgroup allows
    folders: Mapping[str, int | None]   # folder → free bytes, None where nothing can be written
    tools: Mapping[str, str]            # tool → path
    jail_problem: str | None            # why bubblewrap cannot be used, None if it can
    sysctl: Mapping[str, str]           # those of NAMESPACES that this kernel has
    root: bool
    gpus: tuple[str, ...]
    pythonpath: str
    accelerated: doctor_gpu.Seen | None        # None without a GPU


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    status: Status                      # problem: mend it first; optional: not here, and most do without
    seen: str
    without: str = ""                   # what does not work without it
    command: str = ""                   # what gets it

    @property
    def advice(self) -> list[str]:
        """The last two as lines, empty for what is there."""
        named = (("without it: ", self.without), ("to get it:  ", self.command))
        return [label + text for label, text in named if text]


def _output(*command: str) -> str:
    """Standard output of a short command, "" where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def distribution(os_release: str) -> str:
    """ID and ID_LIKE of the text of /etc/os-release."""
    pairs = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    return " ".join(pairs.get(key, "").strip("\"'") for key in ("ID", "ID_LIKE")).strip()


def memory_limit(total: int, *cgroup_files: str) -> int:
    """The smaller of the machine's memory and the limits in the texts of cgroup files ("max" is no limit)."""
    return min([total, *(int(text) for text in map(str.strip, cgroup_files) if text.isdigit())])


def free_space(folder: Path) -> int | None:
    """Free bytes where `folder` is or would be made; None where nothing can be written."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there):
            return shutil.disk_usage(there).free
    except OSError:
        return None


def installed(name: str) -> str | None:
    """Version of an installed distribution, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_browser(which: Callable[[str], str | None] = shutil.which) -> str:
    """Path of a browser that Playwright can drive, "" if there is none."""
    return next(filter(None, map(which, BROWSERS)), "")


def look(
    which: Callable[[str], str | None] = shutil.which,
    output: Callable[..., str] = _output,
    read: Callable[[str], str] = _read,
    jail_problem: Callable[[], str | None] = jail.bubblewrap_problem,
    env: Mapping[str, str] = os.environ,
) -> Facts:
    """The facts of this machine. Every way of asking it can be replaced."""
    home = Path(env.get("HOME") or "/nonexistent")
    data = Path(env["HPML_DATA"]).expanduser() if env.get("HPML_DATA") else home / ".cache" / "hpml"
    flags = next((line for line in read("/proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    gpus = output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    sysctl = {name: read("/proc/sys/" + name.replace(".", "/")).strip() for name in NAMESPACES}
    return Facts(
        system=f"{platform.system()} {platform.machine()}",
        distribution=distribution(read("/etc/os-release")),
        python=(sys.version_info.major, sys.version_info.minor),
        packages={name: version for name in PACKAGES if (version := installed(name))},
        cpu_flags=frozenset(flags.partition(":")[2].split()),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=memory_limit(psutil.virtual_memory().total, read("/sys/fs/cgroup/memory.max")),
        folders={str(folder): free_space(folder) for folder in (home, data, Path(tempfile.gettempdir()))},
        tools={name: which(name) or "" for name in TOOLS} | {"browser": find_browser(which)},
        jail_problem=jail_problem(),
        sysctl={name: value for name, value in sysctl.items() if value},
        root=os.geteuid() == 0,
        gpus=tuple(line.strip() for line in gpus.splitlines() if line.strip()),
        pythonpath=env.get("PYTHONPATH", ""),
        accelerated=doctor_gpu.look(output, installed) if gpus.strip() else None,
    )


def install(facts: Facts, debian: str, fedora: str) -> str:
    """The command that installs a package here. Both forms where the distribution is unknown."""
    sudo = "" if facts.root else "sudo "
    apt, dnf = f"{sudo}apt-get install {debian}", f"{sudo}dnf install {fedora}"
    names = set(facts.distribution.split())
    if names & {"debian", "ubuntu"}:
        return apt
    if names & {"fedora", "rhel", "centos"}:
        return dnf
    return f"{apt}  (Debian, Ubuntu) or  {dnf}  (Fedora, Red Hat)"


def allow_namespaces(facts: Facts) -> str:
    """The command that lets bubblewrap work, from the kernel's switches."""
    switch = [f"{name}={on}" for name, (off, on) in NAMESPACES.items() if facts.sysctl.get(name) == off]
    if switch and not facts.root:
        return f"sudo sysctl -w {' '.join(switch)}"
    return "ask for user namespaces: the administrator, or whoever starts this container"


def _size(n: int) -> str:
    return f"{n / GIB:.1f} GiB"


def _essentials(facts: Facts) -> list[Finding]:
    """What every lab needs."""
    have = facts.packages
    lacking = [name for name in PACKAGES[2:] if name not in have]
    if not {"tensorflow-cpu", "tensorflow"} & have.keys():
        lacking.insert(0, "tensorflow-cpu")
    seen = ", ".join(f"{name} {version}" for name, version in have.items())
    python = ".".join(map(str, facts.python))
    avx = ", ".join(flag for flag in ("avx", "avx2", "avx512f") if flag in facts.cpu_flags) or "no AVX"

    rows = [
        ("system", facts.system == "Linux x86_64", facts.system, "TensorFlow 2.18 has no build for it",
         "use WSL, a Linux x86-64 container or virtual machine, Binder or a JupyterHub"),
        ("Python", facts.python in PYTHONS, python, "the course is pinned for Python 3.11 and 3.12",
         "rm -r .venv; UV_PYTHON=3.11 ./course setup"),
        ("packages", not lacking, seen or "none", f"not installed: {', '.join(lacking)}", "rm -r .venv; ./course setup"),
        ("processor", "avx" in facts.cpu_flags, f"{facts.cores} cores, {avx}",
         "TensorFlow stops with 'Illegal instruction'",
         "use another machine; a virtual machine has to pass its host's processor through"),
        ("memory", facts.memory >= 2 * GIB, _size(facts.memory), "a lab uses up to 2 GiB", "give this machine or container 4 GiB"),
        ("PYTHONPATH", not facts.pythonpath, facts.pythonpath or "not set", "packages there hide the course's own", "unset PYTHONPATH"),
    ]
    for folder, free in facts.folders.items():
        rows.append((
            folder, free is not None and free >= GIB // 2,
            "cannot be written" if free is None else f"{_size(free)} free",
            "notebooks, data sets and the jail's files need a place",
            "make room, or choose another folder with HOME, HPML_DATA or TMPDIR",
        ))
    return [
        Finding(name, "ok", seen) if ok else Finding(name, "problem", seen, without, command)
        for name, ok, seen, without, command in rows
    ]


def _extras(facts: Facts) -> list[Finding]:
    """What some people need."""
    tools = facts.tools

    def extra(name: str, seen: str, without: str, command: str, reason: str = "not found") -> Finding:
        return Finding(name, "ok", seen) if seen else Finding(name, "optional", reason, without, command)

    def package(debian: str, fedora: str) -> str:
        return install(facts, debian, fedora)

    problem = facts.jail_problem or ""
    absent = "not installed" in problem
    jail_command = package("bubblewrap", "bubblewrap") if absent else allow_namespaces(facts)
    compiler = tools["g++"] if tools["make"] else ""
    return [
        extra("compiler", compiler, "Horovod cannot be built anew", package("g++ make", "gcc-c++ make")),
        extra("jail", "" if problem else "bubblewrap", "no grading, checks unjailed", jail_command, problem),
        extra("GPU", "; ".join(facts.gpus), "the labs run on the processor", ""),
        *(extra(*found) for found in (doctor_gpu.rows(facts.gpus, facts.accelerated, package) if facts.accelerated else ())),
        extra("browser", tools["browser"], "the browser test is skipped", package("chromium", "chromium")),
        extra("hub", tools["node"] if tools["npm"] else "", "hpml hub: no hub of a class here", package("nodejs npm", "nodejs npm"),
              "Node.js and npm not found"),
        extra("git", tools["git"], "the course cannot be updated in place", package("git", "git")),
        extra("Slurm", tools["sbatch"], "hpml launch --slurm: only this machine is used", package("slurm-client", "slurm")),
        extra("MPI", tools["mpirun"], "Horovod uses its own Gloo", package("openmpi-bin", "openmpi")),
    ]


def judge(facts: Facts) -> list[Finding]:
    """Findings, the essential ones first. Pure: the same facts give the same findings."""
    return _essentials(facts) + _extras(facts)


def verdict(findings: list[Finding]) -> str:
    """One sentence."""
    problems = [f.name for f in findings if f.status == "problem"]
    if problems:
        return f"To mend first: {', '.join(problems)}. Then run ./course doctor again."
    absent = [f.name for f in findings if f.status == "optional"]
    rest = f" Not here, and perhaps not needed: {', '.join(absent)}." if absent else ""
    return f"Everything essential is here.{rest} Go on with: ./course lab"


def plain(findings: list[Finding]) -> str:
    """The report as text, for logs and pipes."""
    lines = []
    for f in findings:
        lines += [f"{f.status:<9} {f.name}: {f.seen}", *(" " * 10 + line for line in f.advice)]
    return "\n".join(lines)


def table(findings: list[Finding]) -> Table:
    """The report for a terminal."""
    marks = {"ok": "[green]ok[/]", "problem": "[bold red]problem[/]", "optional": "[yellow]optional[/]"}
    grid = Table("", "", "seen", show_header=False, box=None, pad_edge=False)
    for f in findings:
        grid.add_row(marks[f.status], escape(f.name), escape("\n".join([f.seen, *f.advice])))
    return grid


def main(argv: list[str] | None = None) -> int:
    """`hpml doctor [--json]`. Returns 0 if nothing essential is missing, else 1."""
    parser = argparse.ArgumentParser(prog="hpml doctor", description="What this machine has and lacks, and how to get it.",
                                     epilog="Example: hpml doctor --json")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    args = parser.parse_args(argv)
    findings = judge(look())
    console = Console(highlight=False)
    if args.json:
        print(json.dumps({"findings": [dataclasses.asdict(f) for f in findings]}, indent=2))
    else:
        if console.is_terminal:
            console.print(table(findings))
        else:
            print(plain(findings))
        print("\n" + verdict(findings))
    return int(any(f.status == "problem" for f in findings))
