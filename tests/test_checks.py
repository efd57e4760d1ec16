"""The door of the queue for checks, and `check(…, where="gpu")` at the other end."""
# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator

import pytest
from queue_here import NAME, RIGHT, WAIT, Stand, door, opened, post, queue, stand  # noqa: F401

import hpml
from hpml import cli, course
from hpml.hub import checks
from hpml.hub.queue import Queue
from hpml.referee import queue as client
from hpml.referee.client import RefereeError

# --------------------------------------------------------------------------------------------------------------------- the door


def test_places_and_verdicts_come_through(door: str, queue: Queue, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.go.clear()
    stand.there = False
    queue.put("ben", NAME, RIGHT, ["double"])
    assert stand.begun.acquire(timeout=WAIT)
    heard: list[str] = []

    def told(stands: str) -> None:
        heard.append(stands)
        if stands.startswith("one check"):
            stand.go.set()
        stand.there = True

    found = client.judge(NAME, RIGHT, ["double", "total"], told)
    assert [(v.exercise, v.score) for v in found] == [("double", 2.0), ("total", 4.0)]
    assert heard[0] == "one check is before yours" and set(heard[1:]) <= {heard[0], "it is your turn, and it is being measured"}
    assert client._where(2, True) == "2 checks are before yours" and client._where(0, False) == "you are next, waiting for a node"
    assert [j.student for j in stand.jobs] == ["ben", "ada", "ada"]         # whose token it is, not what the request says


@pytest.mark.parametrize("token", ["", "unknown", "narrow", "robot"])
def test_who_is_not_known_is_refused(door: str, stand: Stand, token: str) -> None:
    status, said = post(door, json.dumps({"lab": NAME, "cells": RIGHT, "exercises": ["double"]}).encode(), token)
    assert status == 403 and "does not know you" in said["error"] and not stand.jobs


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"x"', b"[" * 99999, b"\xff", b'{"lab": "01-tiny"}', b'{"lab": 1, "cells": {}, "exercises": ["double"]}',
    b'{"lab": "01-tiny", "cells": {"double": 1}, "exercises": ["double"]}', b'{"lab": "01-tiny", "cells": [], "exercises": ["double"]}',
    b'{"lab": "01-tiny", "cells": {}, "exercises": []}', b'{"lab": "01-tiny", "cells": {}, "exercises": [["double"]]}'])
def test_what_is_no_request_is_refused(door: str, stand: Stand, body: bytes) -> None:
    status, said = post(door, body)
    assert status == 400 and "understands" in said["error"] and not stand.jobs


def test_a_request_is_only_so_long(door: str, stand: Stand) -> None:
    body = json.dumps({"lab": NAME, "cells": {"double": "#" * checks.MAX_BODY}, "exercises": ["double"]}).encode()
    try:
        status, _ = post(door, body)
    except (BrokenPipeError, ConnectionError):
        status = 400
    assert status == 400 and not stand.jobs


def test_who_goes_away_is_taken_out(door: str, queue: Queue, stand: Stand) -> None:
    stand.go.clear()
    queue.put("ben", NAME, RIGHT, ["double"])
    assert stand.begun.acquire(timeout=WAIT)

    def told(stands: str) -> None:
        raise KeyboardInterrupt                             # the reader interrupts the kernel

    with pytest.raises(KeyboardInterrupt):
        client.judge(NAME, RIGHT, ["double"], told)
    pause = threading.Event()
    for _ in range(int(WAIT / 0.01)):
        if not queue.waiting:
            break
        pause.wait(0.01)
    assert not queue.waiting and [t.person for t in queue.handed] == ["ben"]


def test_patience_ends_with_a_sentence(queue: Queue, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.go.clear()
    with opened(queue, patience=0.0) as address:
        monkeypatch.setenv("HPML_QUEUE", address)
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "ada")
        with pytest.raises(RefereeError, match="no verdict within 0 minutes.*nothing is lost.*without `where`"):
            client.judge(NAME, RIGHT, ["double"], lambda stands: None)
    assert not queue.waiting


@pytest.mark.parametrize(("says", "answer"), [
    ("does not know. Tell", b"HTTP/1.1 200 OK\r\n\r\n[1]\n"), ("does not know. Tell", b'HTTP/1.1 200 OK\r\n\r\n{"before": 1}\n'),
    ("in the middle", b"HTTP/1.1 200 OK\r\n\r\n"), ("does not answer", b""), ("does not answer", b"SSH-2.0\r\n")])
def test_whatever_answers_at_that_address(monkeypatch: pytest.MonkeyPatch, says: str, answer: bytes) -> None:
    import socket
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HPML_QUEUE", f"http://127.0.0.1:{server.getsockname()[1]}")

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        with pytest.raises(RefereeError, match=f"{says}.*"):
            client.judge(NAME, RIGHT, ["double"], lambda stands: None)
        thread.join()


# ------------------------------------------------------------------------------------------------------------ in the notebook


@pytest.fixture
def shown(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """What a notebook's cell showed, one after the other, in a kernel that has run a right answer."""
    module = sys.modules["hpml.check"]
    monkeypatch.setattr(module, "_desk", desk := module.Desk())     # type: ignore[attr-defined]
    seen: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **k: seen.append(data) or type("Handle", (), {"display_id": "1"}))
    monkeypatch.setattr("IPython.display.update_display", lambda data, **k: seen.append(data))
    hpml.lab(NAME)
    desk.ran["exercise-double"] = RIGHT["double"]
    yield seen


def test_a_check_elsewhere_in_a_notebook(door: str, stand: Stand, shown: list[dict[str, str]]) -> None:
    assert hpml.check("double", where="gpu") == 2.0
    assert shown[0]["text/plain"] == "Checking double …"
    assert shown[1]["text/plain"].startswith("Checking double on a GPU node: ") and "through the GPU queue" in shown[-1]["text/plain"]
    assert stand.jobs[0].answers == RIGHT


def test_an_interrupt_in_a_notebook_is_one_line(door: str, queue: Queue, stand: Stand, shown: list[dict[str, str]]) -> None:
    module = sys.modules["hpml.check"]
    stand.go.clear()
    ring = threading.Thread(target=lambda: stand.begun.acquire(timeout=WAIT) and signal.raise_signal(signal.SIGINT))
    ring.start()
    with pytest.raises(module.Withdrawn, match="double: interrupted, so this check was taken out") as error:      # type: ignore[attr-defined]
        hpml.check("double", where="gpu")
    ring.join()
    assert isinstance(error.value, KeyboardInterrupt) and len(error.value._render_traceback_()) == 1
    assert shown[-1]["text/plain"] == "Checking double on a GPU node: interrupted …"


def test_a_shell_shows_that_line_and_nothing_else(tiny: course.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    shell = InteractiveShell()
    try:
        result = shell.run_cell("import sys, hpml\nraise sys.modules['hpml.check'].Withdrawn('double: interrupted.')")
    finally:
        shell.history_manager.end_session()
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    assert capsys.readouterr().out.strip() == "double: interrupted."


def test_where_there_is_no_queue(shown: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["hpml.check"]
    monkeypatch.delenv("HPML_QUEUE", raising=False)
    with pytest.raises(module.NotYet, match="There is no GPU queue here.*without `where` measures on this machine"):      # type: ignore[attr-defined]
        hpml.check("double", where="gpu")
    with pytest.raises(module.NotYet, match="`where` can be \"gpu\""):      # type: ignore[attr-defined]
        hpml.check("double", where="tpu")


def test_on_the_command_line(door: str, stand: Stand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["check", NAME, "--solution", "--where", "gpu", "--exercise", "double", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["outcome"] == "pass" and err.startswith("hpml check: ") and stand.jobs[0].exercises == ["double"]
    monkeypatch.delenv("HPML_QUEUE")
    assert cli.main(["check", NAME, "--solution", "--where", "gpu"]) == 1
    assert "There is no GPU queue here" in capsys.readouterr().err
