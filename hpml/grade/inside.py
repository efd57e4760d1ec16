"""Runs the code cells of a whole notebook, inside the jail: sent there as source, and called once with `arena`, shared memory.

arena[:16]    two numbers: where the results begin, and how many bytes lie there now: a line of JSON for each cell
arena[16:n]   a zip of the course as students have it
What a cell shows is written out when it has run, so that a notebook that is ended half-way shows half of it. Nothing here is
trusted outside: whatever runs in these cells may write there, too.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import sys
import zipfile
from typing import Any

TEXT, PICTURE = 20_000, 2_000_000          # the most that is kept of one output: characters, characters of base64


def run(arena: Any, size: int, text: str, seconds: int) -> int:
    """`text`: [[cell id, source], ...]; `seconds` for one cell. Returns the number of cells that ran."""
    os.chdir("/tmp")
    with zipfile.ZipFile(io.BytesIO(arena[16:size].tobytes())) as packed:
        packed.extractall("/tmp/course")
    os.chdir("/tmp/course/here")
    os.environ.update(HPML_ROOT="/tmp/course", HPML_CACHE="/tmp/course/cache", MPLCONFIGDIR="/tmp/mpl", IPYTHONDIR="/tmp/ipython")
    sys.path.insert(0, "/tmp/course")
    shell = _shell()
    cells = json.loads(text)
    begin = at = int(arena[:8].view("<i8")[0])
    for name, source in cells:
        line = json.dumps([name, _cell(shell, source, seconds)]).encode() + b"\n"
        if at + len(line) <= len(arena):                # what no longer fits is left out
            arena[at:at + len(line)] = bytearray(line)
            at += len(line)
            arena[8:16].view("<i8")[0] = at - begin
    return len(cells)


def _shell() -> Any:
    """IPython, and a course whose `check` shows nothing: verdicts are the referee's."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.pylabtools import select_figure_formats
    from traitlets.config import Config

    class Hook(DisplayHook):
        """The value of a cell's last line is shown like everything else."""

        def __call__(self, result: Any = None) -> None:
            if result is not None and not self.quiet():
                shell.display_pub.publish(*self.compute_format_data(result))

    class Shell(InteractiveShell):
        displayhook_class = Hook

        def enable_gui(self, gui: Any = None) -> None:
            """`%matplotlib inline` asks for it."""

    quiet = Config()
    quiet.HistoryManager.enabled = False
    quiet.InteractiveShell.colors = "nocolor"
    shell: Any = Shell.instance(config=quiet)
    select_figure_formats(shell, {"png"})
    import hpml
    sys.modules["hpml.check"].check = hpml.check = lambda name, where=None: 0.0       # type: ignore
    return shell


def _cell(shell: Any, source: str, seconds: int) -> list[dict[str, Any]]:
    """One cell, and what it showed."""
    from IPython.utils.capture import capture_output

    def ring(*_: object) -> None:
        raise TimeoutError(f"This cell ran for more than {seconds} s.")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        with capture_output() as caught:
            result = shell.run_cell(source, store_history=False)
            _figures()
    except BaseException as e:                      # even what passes IPython by: an alarm between two steps of it
        return [_error(e)]
    finally:
        signal.alarm(0)
    shown: list[dict[str, Any]] = [{"output_type": "stream", "name": name, "text": _plain(said)}
             for name, said in (("stdout", caught.stdout), ("stderr", caught.stderr)) if said]
    shown += [{"output_type": "display_data", "metadata": {}, "data": data} for o in caught.outputs if (data := _data(o.data))]
    error = result.error_before_exec or result.error_in_exec
    if error is None or any("Still open" in o.get("text", "") for o in shown):      # an exercise without an answer is no error
        return shown
    return [*(o for o in shown if "Traceback (most recent call last)" not in o.get("text", "")), _error(error)]     # said once


def _figures() -> None:
    """Show what is still open in matplotlib."""
    plt = sys.modules.get("matplotlib.pyplot")
    if plt is not None:
        from IPython.display import display
        for number in plt.get_fignums():
            display(plt.figure(number))
        plt.close("all")


def _data(data: dict[str, Any]) -> dict[str, str]:
    """Text and pictures of points; no pages and no drawings, in which a script could be."""
    kept = {"text/plain": _plain(str(data["text/plain"]))} if "text/plain" in data else {}
    picture = data.get("image/png")
    if isinstance(picture, bytes):
        picture = base64.b64encode(picture).decode()
    if isinstance(picture, str) and len(picture) <= PICTURE:
        kept["image/png"] = picture
    return kept


def _error(error: BaseException) -> dict[str, Any]:
    return {"output_type": "error", "ename": type(error).__name__, "evalue": _plain(str(error)),
            "traceback": [_plain(f"{type(error).__name__}: {error}")]}


def _plain(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).encode("utf-8", "replace").decode()
    return text if len(text) <= TEXT else text[:TEXT] + f"\n… ({len(text)} characters in all)"
