"""A gradebook on Postgres: a real server, started here on the loopback and gone afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tiny_class import NAME, Class

from hpml import course
from hpml.grade import due, exports


def binaries() -> Path | None:
    """Where Postgres's programs lie; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((p for p in places if (p / "initdb").is_file() and (p / "postgres").is_file()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an empty database."""
    programs = binaries()
    if programs is None:
        pytest.skip("no Postgres on this machine: install postgresql")
    as_: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="hpml-postgres-"))
    if os.getuid() == 0:                                    # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_ = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    password = secrets.token_hex(8)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}, "stdin": subprocess.DEVNULL, **as_}
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o644)
    try:
        subprocess.run([programs / "initdb", "-D", folder / "data", "-U", "hpml", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}",
                        "--no-sync", "-E", "UTF8"], check=True, capture_output=True, timeout=120, **options)
        command = [programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "127.0.0.1", "-p", str(port), "-F"]
        with open(folder / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log, **options) as process:
            try:
                wait_for(process, port, password, folder / "log")
                yield f"postgresql://hpml:{password}@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(2)                      # a fast shutdown
                process.wait(60)
    finally:
        shutil.rmtree(folder)


def wait_for(process: subprocess.Popen[bytes], port: int, password: str, log: Path) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="hpml", password=password, dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            time.sleep(0.1)
    pytest.fail(f"Postgres does not answer:\n{log.read_text()}")


def test_a_class_on_postgres(server: str, tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    room = Class(tmp_path / "course", tiny)
    (room.folder / "gradebook.db").unlink()
    (room.folder / "nbgrader_config.py").write_text(
        f'c = get_config()\nc.CourseDirectory.db_url = "{server}"\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    room.submit("ada", room.solved(), "2026-03-01 10:00:00 UTC")
    room.submit("ben", room.solved(top="def top(x): return 0  # wrong"), "2026-03-03 10:00:00 UTC")
    assert room.grade() == 0
    assert due.main([NAME, "--course", str(room.folder), "--at", "2026-03-02 10:00", "--extend", "zoe=1d"]) == 0
    assert room.grade() == 0 and len(room.judge.asked) == 2         # nothing is judged twice
    out = room.folder / "out.csv"
    assert exports.main([NAME, "--course", str(room.folder), "--to", str(out)]) == 0
    assert [line.split(",")[8] for line in out.read_text().splitlines()] == ["total", "10", "0"]       # late, and nbgrader's "zero"
    assert room.grade("--db", server) == 0                          # the same by its address
    assert not (room.folder / "gradebook.db").exists()
    said = capsys.readouterr()
    assert server.split(":")[2].split("@")[0] not in said.out + said.err       # the password


def test_a_wrong_password_is_not_repeated(server: str, tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    room = Class(tmp_path / "course", tiny)
    room.submit("ada", room.solved())
    wrong = server.replace("hpml:", "hpml:not-it-")
    assert room.grade("--db", wrong) == 1
    said = capsys.readouterr().err
    assert "cannot be used" in said and said.count("\n") == 1 and "not-it" not in said
