"""The referee as a process: the protocol of requests, the client, and a hub's socket."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpml import course
from hpml.course import CourseError
from hpml.referee.client import Referee, RefereeError
from hpml.referee.server import Server


@pytest.fixture
def server(tiny: course.Lab) -> Iterator[Server]:
    server = Server("desk")
    yield server
    server.close()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"lab": 3, "cells": {}}', b'{"lab": "01-tiny", "cells": {"a": 1}}',
                                  b'{"lab": "01-tiny", "cells": {}, "exercises": "x"}', b'{"lab": "01-tiny", "cells": {}, "seed": "1"}',
                                  b"[" * 99999])
def test_a_bad_request_is_a_sentence(server: Server, line: bytes) -> None:
    assert server.answer(line) == {"error": "the request is not one that this referee understands"}


def test_requests(server: Server) -> None:
    assert "did you mean '01-tiny'" in server.answer(b'{"lab": "01-tinny", "cells": {}}')["error"]
    assert "no exercise" in server.answer(b'{"lab": "01-tiny", "cells": {}, "exercises": ["x"]}')["error"]
    found = server.answer(json.dumps({"lab": "01-tiny", "cells": {"guess": "predict('guess', 2)"}, "exercises": ["guess"]}).encode())
    assert found["verdicts"][0]["outcome"] == "pass"


def test_the_client_starts_its_own_referee_and_ends_it(tiny: course.Lab) -> None:
    with Referee(purpose="grade") as referee:
        found = referee.judge("01", {"double": "def double(x): return 2 * x"}, ["double", "top"])
        assert [str(v.outcome) for v in found] == ["pass", "malformed"]
        with pytest.raises(CourseError, match="no exercise 'x'"):
            referee.judge("01", {}, ["x"])
        process = referee._process
        assert process
        referee.warm("01-tiny")                                 # it is warm: nothing to do
        process.kill()
        process.wait()
        assert referee.judge("01", {"guess": "predict('guess', 2)"}, ["guess"])[0].passed     # a referee that died is replaced
        process = referee._process
    assert process and process.poll() is not None


def test_a_referee_gets_ready_without_being_waited_for(tiny: course.Lab) -> None:
    with Referee() as referee:
        referee.warm("01-tiny")
        assert referee.judge("01", {"guess": "predict('guess', 2)"}, ["guess"])[0].passed


def test_an_answer_that_was_not_waited_for_is_nobody_elses(tiny: course.Lab) -> None:
    class Interrupted:
        def readline(self) -> bytes:
            raise KeyboardInterrupt

        def close(self) -> None:
            """Nothing to let go of."""

    with Referee() as referee:
        referee.warm("01-tiny")
        process, real = referee._process, referee._from
        referee._from = Interrupted()                           # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            referee.judge("01", {"double": "def double(x):\n    while True: pass"}, ["double"])
        assert process and process.poll() is not None and real
        real.close()
        assert [v.exercise for v in referee.judge("01", {"guess": "predict('guess', 2)"}, ["guess"])] == ["guess"]


def test_nobody_behind_the_socket(tmp_path: Path, tiny: course.Lab) -> None:
    with Referee(address=str(tmp_path / "no.sock")) as referee, pytest.raises(RefereeError, match="your work is safe"):
        referee.judge("01", {}, ["double"])


def test_a_hubs_referee_answers_on_a_socket(tiny: course.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "referee.sock"
    process = subprocess.Popen([sys.executable, "-m", "hpml.referee.server", "--socket", str(path)], stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ))
    assert process.stdout
    try:
        assert "HPML_REFEREE" in process.stdout.readline()
        monkeypatch.setenv("HPML_REFEREE", str(path))
        with Referee() as one, Referee() as two:
            for referee in (one, two):
                assert referee.judge("01", {"guess": "predict('guess', 2)"}, ["guess"])[0].passed
                assert referee._process is None
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
