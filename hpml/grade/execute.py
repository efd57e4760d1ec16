"""Runs a student's whole notebook in the jail, without any authority over the grade: for its plots, and what its cells print.

The jail holds what a student has of the course (package, data that come with it, files beside the notebook) and nothing else; `check`
shows nothing there. Whoever reads the answers by hand, and the student in the feedback, sees text and pictures as they came out.
"""

from __future__ import annotations

import io
import json
import os
import re
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import hpml
from hpml import course, machine
from hpml.build import notebook, release
from hpml.course import Lab
from hpml.grade.jobs import Fault, Outputs
from hpml.referee import jail
from hpml.referee.jail import Died, WarmParent
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.workers import Stubborn, Worker

SECONDS = 180                           # for a notebook
CELL_SECONDS = int(os.environ.get("HPML_CELL_SECONDS", "60"))        # for a cell of it
MEMORY = 6 << 30                        # bytes of address space
RESULTS = 16 << 20                      # bytes of what a notebook shows
TOOLS = ("numpy", "IPython.core.interactiveshell", "IPython.utils.capture", "matplotlib.pyplot")
FRAMEWORKS = ("tensorflow", "keras")
KINDS: dict[str, dict[str, type]] = {"stream": {"name": str, "text": str}, "error": {"ename": str, "evalue": str, "traceback": list},
         "display_data": {"data": dict, "metadata": dict}}


def packed(lab: Lab) -> bytes:
    """A zip of the course as its students have it, with this lab only."""
    made = io.BytesIO()
    ours = Path(hpml.__file__).resolve().parent.parent
    with zipfile.ZipFile(made, "w") as out:
        for path in release.package(ours):
            out.write(ours / path, path.as_posix())
        out.writestr("course.yml", release.manifest([lab]))
        for path in sorted((course.ROOT / "datasets").rglob("*")):
            if path.is_file() and path.suffix in (".npz", ".yml"):
                out.write(path, path.relative_to(course.ROOT).as_posix())
        if machine.path().is_file():
            out.write(machine.path(), f"cache/{machine.path().name}")
        out.writestr("here/", "")
        for name in (*notebook.figures(notebook.in_notebook(notebook.read(lab))), *lab.files):
            out.writestr(f"here/{name}", notebook.beside(lab, name))
    return made.getvalue()


def _preload(lab: Lab) -> tuple[str, ...]:
    """What is imported once for all notebooks of a lab."""
    text = (lab.folder / "lab.py").read_text(encoding="utf-8")
    return TOOLS + (FRAMEWORKS if re.search(r"^\s*(import|from)\s+(tensorflow|keras|hpml\.distributed)\b", text, re.MULTILINE) else ())


class Runner:
    """Runs notebooks of one lab, each in a jail of its own, forked from a parent that has imported what they need."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.backend = lab, jail.choose(course.load().jail)
        self.course = packed(lab)
        self.parent: WarmParent | None = None
        self.lock = threading.Lock()

    def _worker(self) -> Worker:
        with self.lock:                 # one at a time may talk to the parent
            if self.parent is None:
                self.parent = WarmParent(self.backend, _preload(self.lab))
            return Worker(self.backend, memory=MEMORY, cpu_seconds=2 * SECONDS, lifetime=SECONDS, processes=True, parent=self.parent)

    def run(self, text: str) -> Outputs:
        """`text`: [[cell id, source], ...] → what each cell showed; of those that were reached, where it takes too long.

        Nothing where there is no jail: a judge's worker is guarded by limits then, but a whole notebook needs more. Raises Fault where
        the jail does not start.
        """
        if self.backend == "none":
            return {}
        names, end = [name for name, _ in json.loads(text)], 16 + len(self.course)
        begin = end + (-end) % 16
        try:
            worker = self._worker()
        except Died as e:
            raise Fault(f"Notebooks could not be run: {e}.") from None
        with worker:
            try:
                worker.wait_ready(SECONDS)
            except (Died, Stubborn, TimedOut, ProtocolError) as e:
                raise Fault(f"A notebook could not be run: {e}. {worker.printed()[-300:]}") from None
            worker.arena[:16].view("<i8")[:] = begin, 0
            worker.arena[16:end] = np.frombuffer(self.course, np.uint8)
            arena = {"dtype": "|u1", "shape": [begin + RESULTS], "offset": 0}
            call = [arena, {"value": end}, {"value": text}, {"value": CELL_SECONDS}]
            try:
                source = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
                for request in ({"load": {"cells": [["inside", source]], "function": "run"}}, {"prepare": {"calls": [call]}}, {"go": True}):
                    worker.ask(request, SECONDS)
            except (Died, Stubborn, TimedOut, ProtocolError, MemoryError):
                worker.kill()           # what was shown until then stays
            length = int(worker.arena[8:16].view("<i8")[0])
            return clean(bytes(worker.arena[begin:begin + max(0, min(length, RESULTS))]), names)

    def close(self) -> None:
        if self.parent:
            self.parent.close()
            self.parent = None


def clean(said: bytes, names: list[str]) -> Outputs:
    """What a jail says its cells showed → outputs of cells that exist, of the kinds that a notebook has, and nothing else."""
    found: dict[str, list[Any]] = {}
    for line in said.splitlines():
        try:
            name, outputs = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(name, str) and isinstance(outputs, list):
            found[name] = outputs
    return {name: [o for o in map(_output, found[name]) if o] for name in names if name in found}


def _output(raw: Any) -> dict[str, Any] | None:
    """One output with its own fields only: text is text, and a picture is base64 of a PNG."""
    kind = raw.get("output_type") if isinstance(raw, dict) else None
    fields = KINDS.get(kind) if isinstance(kind, str) else None
    if not fields or not all(isinstance(raw.get(name), wanted) for name, wanted in fields.items()):
        return None
    kept: dict[str, Any] = {"output_type": kind} | {name: raw[name] for name in fields}
    if kind == "stream" and raw["name"] not in ("stdout", "stderr"):
        return None
    if kind == "error":
        kept["traceback"] = [line for line in raw["traceback"] if isinstance(line, str)]
    if kind == "display_data":
        data = raw["data"]
        kept["metadata"] = {}
        kept["data"] = {k: v for k, v in data.items() if isinstance(v, str) and (
            k == "text/plain" or (k == "image/png" and re.fullmatch(r"iVBORw0KGgo[A-Za-z0-9+/=\n]*", v)))}
    return kept
