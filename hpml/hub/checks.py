"""The door of the queue (hpml/hub/queue.py): a service of JupyterHub, which kernels ask over HTTP with the token of their server.

The hub says whose token it is. The service listens beside the hub's proxy, not behind it, so that it sees at once when a kernel goes away.

    POST /check      {"lab": name, "cells": {exercise: source}, "exercises": [names]}
    answer           JSON, a line whenever something changes, and every few seconds:
                     {"before": 3, "nodes": true}               how many checks are before it, and whether there are nodes
                     {"verdicts": [...]} or {"error": sentence} the last line

Closing the connection takes the check out of the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from tornado import httpserver, web

from hpml import course
from hpml.course import CourseError
from hpml.grade import engine, guarded
from hpml.grade.jobs import Engine
from hpml.hub.queue import Queue, Refused, Ticket
from hpml.referee.queue import PATH

MAX_BODY = 1 << 20              # bytes of one request
LOOK_SECONDS = 0.25             # between two looks at how a check stands
BEAT_SECONDS = 5.0              # between two lines that say the same
SCOPE = "access:services!service=checks"        # what a token must be allowed to; `beside` gives it to every server


class Auth(Protocol):
    """What is needed of jupyterhub.services.auth.HubAuth."""

    def get_token(self, handler: Any, in_cookie: bool) -> str | None: ...
    def user_for_token(self, token: str, *, sync: bool) -> Any: ...


class Door(web.RequestHandler):
    """One request: who asks, what, and then how it stands until there is a verdict."""

    def initialize(self, queue: Queue, auth: Auth, patience: float) -> None:
        self.queue, self.auth, self.patience, self.gone = queue, auth, patience, False

    def on_connection_close(self) -> None:
        self.gone = True

    async def post(self) -> None:
        """Lines of JSON; see the module."""
        try:
            ticket = self.queue.put(await self._person(), *self._asked())
        except (Refused, CourseError) as e:
            await self._line({"error": str(e)})
            return
        try:
            await self._follow(ticket)
        finally:
            if ticket.verdicts is None and ticket.error is None:
                await asyncio.to_thread(self.queue.withdraw, ticket)

    async def _person(self) -> str:
        """Who asks. Raises Refused."""
        token = self.auth.get_token(self, in_cookie=False)
        model = await self.auth.user_for_token(token, sync=False) if token else None
        if not model or model.get("kind") != "user" or SCOPE not in model.get("scopes", ()):
            self.set_status(403)
            raise Refused("The GPU queue does not know you. Restart your server (File → Hub Control Panel); if that does not help, tell "
                          "your instructor.")
        return str(model["name"])

    def _asked(self) -> tuple[str, dict[str, str], list[str]]:
        """Lab, cells and exercises of the request. Raises Refused."""
        try:
            request = json.loads(self.request.body)
            lab, cells, exercises = request["lab"], request["cells"], request["exercises"]
            if isinstance(lab, str) and isinstance(cells, dict) and isinstance(exercises, list) and exercises \
                    and all(isinstance(text, str) for text in (*cells.values(), *exercises)):
                return lab, cells, list(dict.fromkeys(exercises))
        except (ValueError, KeyError, TypeError, RecursionError):
            pass                                            # answered as the request of a wrong shape that it is
        self.set_status(400)
        raise Refused("The request is not one that the GPU queue understands.")

    async def _follow(self, ticket: Ticket) -> None:
        began = spoken = time.monotonic()
        last: dict[str, Any] = {}
        while not self.gone:
            if ticket.verdicts is not None:
                await self._line({"verdicts": [v.model_dump(mode="json") for v in ticket.verdicts]})
                return
            if ticket.error is not None:
                await self._line({"error": ticket.error})
                return
            now = time.monotonic()
            if now - began > self.patience:
                await self._line({"error": f"There was no verdict within {self.patience / 60:g} minutes, so this check was taken out of "
                                           "the GPU queue; nothing is lost. Try again later. check(…) without `where` measures on "
                                           "this machine."})
                return
            stands = {"before": self.queue.before(ticket), "nodes": await asyncio.to_thread(self.queue.nodes)}
            if stands != last or now - spoken > BEAT_SECONDS:
                await self._line(stands)
                last, spoken = stands, now
            await asyncio.sleep(LOOK_SECONDS)

    async def _line(self, said: dict[str, Any]) -> None:
        self.write(json.dumps(said) + "\n")
        if not self.gone:
            await self.flush()


def serve(queue: Queue, auth: Auth, patience: float, host: str, port: int) -> httpserver.HTTPServer:
    """Open the door, in the event loop that runs. Port 0: any."""
    server = httpserver.HTTPServer(web.Application([(PATH, Door, {"queue": queue, "auth": auth, "patience": patience})]),
                                   max_body_size=MAX_BODY)
    server.listen(port, host)
    return server


def starter(where: str) -> Callable[[], Engine]:
    """What starts the engine. Raises CourseError for one that cannot be beside students' servers.

    To be called in the main thread.
    """
    if where.startswith("tcp://"):
        raise CourseError(f"the queue cannot use {where}: a Dask scheduler without TLS runs what anybody sends who reaches it, and "
                          "students' servers do. Say slurm, local, or the address of a scheduler with TLS, such as tls://head:8786")
    if where not in ("slurm", "local") and "://" not in where:
        raise CourseError(f"there is no engine {where!r} for the queue: say slurm, local, or the address of a Dask scheduler with TLS, "
                          "such as tls://head:8786")
    if where == "slurm":
        from hpml.grade import cluster
        cluster.jobqueue()
    return functools.partial(_started, where)


def _started(where: str) -> Engine:
    """The engine that `where` names, with referees that check as at the desk: public sizes, unsigned verdicts. Raises CourseError."""
    if where == "local":
        guarded()
        return engine.Local(1, functools.partial(engine.referee, purpose="desk"))
    from hpml.grade import cluster
    found = engine.start(where)
    assert isinstance(found, cluster.Cluster)
    found.task = functools.partial(cluster.work, purpose="desk")
    return found


async def run(where: str, host: str, port: int) -> None:
    """Until a signal to end."""
    from jupyterhub.services.auth import HubAuth
    wanted = course.load().engine
    auth = HubAuth.instance()
    os.environ.pop("JUPYTERHUB_API_TOKEN", None)            # jobs of Slurm inherit what is here; and nobody needs it
    os.environ.pop("HPML_REFEREE", None)
    queue = Queue(starter(where), 1 if where == "local" else wanted.nodes)
    server = serve(queue, auth, 60 * wanted.check_minutes, host, port)
    print(f"hpml queue: at http://{host}:{port}, on {where}", file=sys.stderr, flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.stop()
    await asyncio.to_thread(queue.close)
    await asyncio.sleep(2 * LOOK_SECONDS)                   # whoever waits is told


def beside(c: Any, where: str, port: int, environment: dict[str, str], host: str = "127.0.0.1", address: str = "127.0.0.1") -> None:
    """Add the queue to JupyterHub's configuration `c`, after its services and roles.

    environment    of the service; without the hub's own secrets
    host, address  where it listens, and what servers call that
    """
    c.JupyterHub.services += [
        {"name": "checks", "display": False, "environment": {k: v for k, v in environment.items() if not k.startswith("JUPYTERHUB_")},
         "command": [sys.executable, "-m", "hpml.hub.checks", f"--engine={where}", f"--host={host}", f"--port={port}"]}]
    c.JupyterHub.load_roles += [                            # as JupyterHub's own two, and the queue
        {"name": "user", "scopes": ["self", SCOPE]},
        {"name": "server", "scopes": ["users:activity!user", "access:servers!server", SCOPE]}]
    c.Spawner.environment = {"HPML_QUEUE": f"http://{address}:{port}"}


def main(argv: list[str] | None = None) -> int:
    """The service as JupyterHub starts it (deploy/hub). Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hpml.hub.checks", description='The queue for check(…, where="gpu").')
    parser.add_argument("--engine", required=True, help="slurm, tls://… of a Dask scheduler, or local (this machine)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(argv)
    try:
        asyncio.run(run(options.engine, options.host, options.port))
    except (CourseError, OSError) as e:
        print(f"hpml queue: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
