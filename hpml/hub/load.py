"""A class on one hub at the same time: how long does each step take, and how much memory does a student need?

    python -m hpml.hub.load --students 20

starts a hub in a temporary folder, lets everybody log in, start a server, fetch lab 04, open it, answer and check one exercise, and submit,
and prints for each step the median (p50) and the 95th percentile (p95) in seconds, the failed requests, and the memory of a student's
processes (PSS): of their server and kernel, when all have submitted and nobody has left.
All of it on this machine: students, hub and referee share its cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
import websocket

from hpml import course, source
from hpml.hub import Hub, size
from hpml.hub.folder import COURSE_ID, ClassFolder, Person

LAB, EXERCISE = "04-conv-gemm", "im2col"
STEPS = ("log in", "server", "fetch", "open", "check", "submit")
PATIENCE = 600                          # seconds for one request


class Student:
    """One simulated student: `work` does what a browser would ask for."""

    def __init__(self, hub: Hub, person: Person, answer: str) -> None:
        self.hub, self.person, self.answer = hub, person, answer
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self.web = requests.Session()
        self.base = f"{hub.url}/user/{person.name}"
        self.headers: dict[str, str] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start

    def ask(self, method: str, url: str, **more: Any) -> requests.Response:
        answer = self.web.request(method, url, headers=self.headers, timeout=PATIENCE, **more)
        answer.raise_for_status()
        return answer

    def work(self) -> None:
        """All steps; the first one that fails ends it, and is noted."""
        for name in STEPS:
            try:
                with self.step(name):
                    getattr(self, "_" + name.replace(" ", "_"))()
            except (requests.RequestException, websocket.WebSocketException, OSError, ValueError) as e:
                self.failed.append(f"{self.person.name}, {name}: {e}")
                return

    def _log_in(self) -> None:
        name = self.person.name
        self.ask("GET", f"{self.hub.url}/hub/login")
        mark = next(c.value for c in self.web.cookies if c.name == "_xsrf")
        sent = {"username": name, "password": self.person.password, "_xsrf": mark}
        self.ask("POST", f"{self.hub.url}/hub/login", data=sent, allow_redirects=False)
        mark = next(c.value for c in self.web.cookies if c.name == "_xsrf")
        made = self.web.post(f"{self.hub.url}/hub/api/users/{name}/tokens", json={}, headers={"X-XSRFToken": str(mark)}, timeout=PATIENCE)
        made.raise_for_status()
        self.headers = {"Authorization": f"token {made.json()['token']}"}
        self.web.cookies.clear()

    def _server(self) -> None:
        address = f"{self.hub.url}/hub/api/users/{self.person.name}"
        self.ask("POST", f"{address}/server")
        end = time.monotonic() + PATIENCE
        while not self.ask("GET", address).json()["servers"].get("", {}).get("ready"):
            if time.monotonic() > end:
                raise ValueError("the server did not start")
            time.sleep(0.2)

    def _assignment(self, action: str) -> list[dict[str, Any]]:
        said = self.ask("POST", f"{self.base}/assignments/{action}", json={"course_id": COURSE_ID, "assignment_id": LAB}).json()
        if not said["success"]:
            raise ValueError(said["value"])
        return list(said["value"])

    def _fetch(self) -> None:
        if not any(a["status"] == "fetched" for a in self._assignment("fetch")):
            raise ValueError("it was not fetched")

    def _open(self) -> None:
        path = f"{self.base}/api/contents/{LAB}/{LAB}.ipynb"
        model = self.ask("GET", path).json()
        cells = {cell["id"]: cell for cell in model["content"]["cells"]}
        cells[f"exercise-{EXERCISE}"]["source"] = self.answer
        self.ask("PUT", path, json={"type": "notebook", "content": model["content"]})
        self.code = ["import numpy as np", f"import hpml; from hpml import check; hpml.lab({LAB!r})", self.answer, f"check({EXERCISE!r})"]
        started = self.ask("POST", f"{self.base}/api/sessions", json={"path": f"{LAB}/{LAB}.ipynb", "type": "notebook", "name": "",
                                                                    "kernel": {"name": "python3"}})
        self.kernel = started.json()["kernel"]["id"]

    def _check(self) -> None:
        address = self.base.replace("http:", "ws:") + f"/api/kernels/{self.kernel}/channels"
        door = websocket.create_connection(address, timeout=PATIENCE, header=[f"Authorization: {self.headers['Authorization']}"])
        try:
            said = "".join(self._run(door, code) for code in self.code)
        finally:
            door.close()
        if "pass" not in said:
            raise ValueError(f"the check said: {said[-300:]}")

    def _run(self, door: websocket.WebSocket, code: str) -> str:
        """Everything that the kernel sends back for this code, as JSON text."""
        key, said = uuid.uuid4().hex, ""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                   "stop_on_error": False}
        header = {"msg_id": key, "msg_type": "execute_request", "username": "", "session": key, "version": "5.3", "date": ""}
        door.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell",
                              "buffers": []}))
        while True:
            message = json.loads(door.recv())
            if message["parent_header"].get("msg_id") != key:
                continue
            if message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return said
            said += json.dumps(message["content"].get("data", message["content"]))

    def _submit(self) -> None:
        self._assignment("submit")

    def memory(self) -> float:
        """MB of all processes under this student's number."""
        total = 0
        for process in psutil.process_iter():
            try:
                if process.uids().real == self.person.uid:
                    total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total / 1e6


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(values), "p95": percentile(values, 0.95)} if values else {"p50": math.nan, "p95": math.nan}


def main(argv: list[str] | None = None) -> int:
    """Run the class. Returns 0 if no request failed."""
    parser = argparse.ArgumentParser(prog="python -m hpml.hub.load", description="A simulated class on a hub of this machine.")
    parser.add_argument("--students", type=int, default=20, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    answer = source.read(course.load().lab(LAB)).answers[EXERCISE]
    names = [f"student{i:02}" for i in range(1, options.students + 1)]
    with tempfile.TemporaryDirectory(prefix="hpml-class-") as folder:
        there = ClassFolder(Path(folder) / "class")
        there.make(names, [course.load().lab(LAB)])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with Hub(there.root, port, size("4G"), 1.0, 3600) as hub:
            students = [Student(hub, there.people()[name], answer) for name in names]
            with ThreadPoolExecutor(len(students)) as all_at_once:
                list(all_at_once.map(Student.work, students))
            memory = [student.memory() for student in students if not student.failed]
    taken: dict[str, list[float]] = defaultdict(list)
    for student in students:
        for name, seconds in student.seconds.items():
            taken[name].append(seconds)
    failed = [line for student in students for line in student.failed]
    report: dict[str, Any] = {"students": len(students), "seconds": {name: _spread(values) for name, values in taken.items()},
              "megabytes": _spread(memory), "failed": failed}
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print(f"{len(students)} students at the same time, {os.cpu_count()} cores")
        for name, row in report["seconds"].items():
            print(f"  {name:22}{row['p50']:8.1f} s p50 {row['p95']:8.1f} s p95")
        print(f"  {'memory of a student':22}{report['megabytes']['p50']:7.0f} MB p50 {report['megabytes']['p95']:7.0f} MB p95")
        print(f"failed requests: {len(failed)}", *failed, sep="\n  ")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
