"""Notebooks, executed: each once for a text, then taken from the cache.

A page of the site is made of two runs: the student's untouched notebook and the solved one (`hpml/site/lab.py` says why).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from hpml import build, machine
from hpml.check import cache
from hpml.course import CourseError, Lab

SECONDS = 600                           # for one cell: a check measures


def key(text: str, *beside: bytes) -> str:
    """The name under which a run is kept: another text, or another file beside it, is another run."""
    return hashlib.sha256(b"\0".join([text.encode(), *beside])).hexdigest()[:16]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody's earlier verdicts, and the card of this machine, which is measured once. Kernels inherit the environment."""
    machine.card()
    folder.mkdir()
    shutil.copy(machine.path(), folder)
    before = os.environ.get("HPML_CACHE")
    os.environ["HPML_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["HPML_CACHE"]
        else:
            os.environ["HPML_CACHE"] = before


def run(lab: Lab, notebook: NotebookNode, beside: dict[str, bytes]) -> NotebookNode:
    """The notebook with its outputs, from a fresh kernel in a folder of its own. Raises CourseError where a cell fails.

    beside  files of the notebook's folder: name → content
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    text = nbformat.writes(notebook)
    kept = cache() / "site" / f"{lab.lab}-{key(text, *beside.values())}.ipynb"
    if kept.is_file():
        return nbformat.read(kept, as_version=4)
    done = nbformat.reads(text, as_version=4)
    with tempfile.TemporaryDirectory(prefix="hpml-site-") as folder:
        for name, content in beside.items():
            build.write(Path(folder) / "notebook" / name, content)
        (Path(folder) / "notebook").mkdir(exist_ok=True)
        try:
            with _alone(Path(folder) / "cache"):
                # the log level: a kernel says of each start that it listens on TCP
                NotebookClient(done, timeout=SECONDS, extra_arguments=["--log-level=ERROR"],
                               resources={"metadata": {"path": f"{folder}/notebook"}}).execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
            why = f"{e.ename}: {e.evalue}" if isinstance(e, CellExecutionError) else str(e).strip().partition("\n")[0]
            raise CourseError(f"{lab.lab} does not run to its end, so its page cannot be made: {why}") from None
    build.write(kept, nbformat.writes(done).encode())
    return done


def both(lab: Lab) -> tuple[NotebookNode, NotebookNode]:
    """The student's notebook and the solved one, executed."""
    from hpml.build import notebook

    solved, beside = plain(lab)
    return run(lab, notebook.student(solved), beside), run(lab, solved, beside)


def plain(lab: Lab) -> tuple[NotebookNode, dict[str, bytes]]:
    """The solved notebook, not executed, and the files that lie beside it."""
    from hpml.build import notebook

    found = notebook.read(lab)
    names = (*notebook.figures(notebook.in_notebook(found)), *lab.files)
    return notebook.solution(lab, found), {name: notebook.beside(lab, name) for name in names}


__all__ = ["both", "key", "plain", "run"]
