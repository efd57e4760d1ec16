"""A queue with an engine that stands in, and its door with a hub that stands in, for tests."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import engine_stand_in
import pytest
from slurm_here import cluster as slurm  # noqa: F401

from hpml import course
from hpml.grade.jobs import Job
from hpml.hub import checks
from hpml.hub.queue import Queue, Ticket
from hpml.referee import queue as client
from hpml.verdict import Verdict

NAME = "01-tiny"
RIGHT = {"double": "def double(x): return 2 * x"}
WAIT = 60.0                     # seconds for another thread, however busy the machine is


class Stand:
    """An engine that judges by the source (`# wrong`), when `go` is set."""

    split, measuring, workers = True, False, 1

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Semaphore(0)
        self.go.set()
        self.jobs: list[Job] = []
        self.withdrawn: list[str] = []
        self.closed = 0
        self.error: Exception | None = None
        self.there = True

    def map(self, jobs: Any) -> Iterator[tuple[Job, Any]]:
        for job in jobs:
            self.jobs.append(job)
            self.begun.release()
            assert self.go.wait(WAIT)
            if self.error:
                raise self.error
            yield job, [Verdict.model_validate(engine_stand_in.verdict(job.lab, n, job.answers.get(n, ""))) for n in job.exercises]

    def withdraw(self, student: str) -> None:
        self.withdrawn.append(student)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def queue(tiny: course.Lab, stand: Stand) -> Iterator[Queue]:
    made = Queue(lambda: stand)             # type: ignore[arg-type, return-value]
    yield made
    stand.go.set()
    made.close()


def ended(*tickets: Ticket) -> None:
    done = threading.Event()
    for _ in range(int(WAIT / 0.01)):
        if all(t.verdicts is not None or t.error is not None for t in tickets):
            return
        done.wait(0.01)
    pytest.fail("no end")


class Known:
    """In the place of the hub: tokens are names; `narrow` may not ask the queue, a service is no person."""

    def get_token(self, handler: Any, in_cookie: bool) -> str | None:
        assert not in_cookie
        return handler.request.headers.get("Authorization", "").partition(" ")[2] or None

    async def user_for_token(self, token: str, *, sync: bool) -> dict[str, Any] | None:
        if token == "unknown":
            return None
        return {"name": token, "kind": "service" if token == "robot" else "user", "scopes": [] if token == "narrow" else [checks.SCOPE]}


@contextmanager
def opened(queue: Queue, patience: float = WAIT) -> Iterator[str]:
    """The door in a thread with an event loop of its own. Yields its address."""
    there: list[Any] = []
    ready = threading.Event()

    async def run() -> None:
        stop = asyncio.Event()
        server = checks.serve(queue, Known(), patience, "127.0.0.1", 0)
        port = next(iter(server._sockets.values())).getsockname()[1]
        there.extend([f"http://127.0.0.1:{port}", asyncio.get_running_loop(), stop])
        ready.set()
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(WAIT)
    yield there[0]
    there[1].call_soon_threadsafe(there[2].set)
    thread.join()


@pytest.fixture
def door(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with opened(queue) as address:
        monkeypatch.setenv("HPML_QUEUE", address)
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "ada")
        yield address


def post(address: str, body: bytes, token: str = "ada") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=WAIT)
    with closing(connection):
        connection.request("POST", client.PATH, body, {"Authorization": f"token {token}"})
        answer = connection.getresponse()
        lines = answer.read().splitlines()
    return answer.status, json.loads(lines[-1]) if lines and lines[-1].startswith(b"{") else {}
