"""The file of a submission, read with suspicion: found inside its folder, of bounded size, and taken apart into cells.

Nothing in it is trusted. What cannot be read ends in `Unreadable`, whose message is for the student.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

MAX_NOTEBOOK = 20_000_000       # bytes; pictures pasted into answers count


class Unreadable(Exception):
    """The submission cannot be graded; the message is for the student."""


def _read(path: Path, inside: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes that lies in `inside`, links included."""
    if not path.resolve().is_relative_to(inside.resolve()) or inside.is_symlink() or inside.parent.is_symlink():
        raise Unreadable(f"`{path.name}` is a link to a place outside the submission, so it was not opened. Submit the notebook itself.")
    door = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)        # a pipe must not make us wait
    with open(door, "rb") as file:
        if not stat.S_ISREG(os.fstat(door).st_mode):
            raise Unreadable(f"`{path.name}` is not a file. Submit the notebook itself.")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Unreadable(f"`{path.name}` is larger than {limit / 1e6:g} MB. Clear the outputs (Edit, Clear Outputs of All Cells), take "
                         "large pictures out, and submit again.")
    return content


def small(path: Path, inside: Path) -> bytes:
    """One of the little files that nbgrader's exchange puts beside a notebook. Raises OSError, RuntimeError or Unreadable."""
    return _read(path, inside, 1000)


def timestamp(folder: Path) -> str | None:
    """When nbgrader's exchange received it, as it wrote it down; None where it did not, or where that is no date."""
    from nbgrader.utils import parse_utc
    try:
        said = _read(folder / "timestamp.txt", folder, 200).decode().strip()
        return said if parse_utc(said) else None
    except (OSError, RuntimeError, ValueError, OverflowError, Unreadable):
        return None


def content(folder: Path, name: str) -> bytes:
    wanted = f"{name}.ipynb"
    if not folder.is_dir():
        raise Unreadable(f"What was submitted for {name} is not a folder. Submit the folder with the notebook in it.")
    try:
        return _read(folder / wanted, folder, MAX_NOTEBOOK)
    except FileNotFoundError:
        others = sorted(p.name for p in folder.glob("*.ipynb"))
        if others:
            raise Unreadable(f"The submission holds `{others[0]}`, but no `{wanted}`. Rename your notebook to `{wanted}` and submit "
                             "again.") from None
        raise Unreadable(f"The submission holds no notebook. Save your work as `{wanted}` and submit again.") from None
    except IsADirectoryError:
        raise Unreadable(f"`{wanted}` is a folder, not a notebook. Submit the notebook itself.") from None
    except (OSError, RuntimeError) as e:
        if isinstance(e, OSError) and e.errno not in (errno.ELOOP, errno.ENXIO, errno.EACCES):
            raise                                   # the grader's own disk: nothing that a student can mend
        raise Unreadable(f"`{wanted}` cannot be opened ({getattr(e, 'strerror', None) or e}). Submit the notebook itself.") from None


def cells(content: bytes, notes: list[str]) -> list[NotebookNode]:
    """Bytes of any kind → the cells of a notebook, or Unreadable. Small damage elsewhere in the file does not matter."""
    again = "Open it in JupyterLab; if it does not open, start from a fresh copy of the lab, put your answers in, and submit that."
    if not content.strip():
        raise Unreadable(f"The notebook is an empty file. {again}")
    try:
        raw = json.loads(content.decode("utf-8-sig"))
    except UnicodeError:
        raise Unreadable(f"The notebook is not text (a notebook is JSON in UTF-8). {again}") from None
    except (ValueError, RecursionError) as e:
        where = f" at line {e.lineno}" if isinstance(e, json.JSONDecodeError) else ""
        raise Unreadable(f"The notebook is damaged: it stops being JSON{where}. {again}") from None
    if isinstance(raw, dict) and isinstance(raw.get("worksheets"), list) and "cells" not in raw:
        try:
            raw = nbformat.convert(nbformat.reader.reads(json.dumps(raw)), 4)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, nbformat.ValidationError):
            raise Unreadable(f"The notebook is in an old format, and damaged: its cells cannot be read. {again}") from None
        notes.append("The notebook was saved in an older format; it was read as today's.")
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise Unreadable(f"The file is JSON, but not a notebook: it has no list of cells. {again}")
    found = [cell for cell in map(_cell, raw["cells"]) if cell is not None]
    if lost := len(raw["cells"]) - len(found):
        notes.append(f"Left out, because there was no text in it or its type is unknown: {lost} of the notebook's cells.")
    return found


def _cell(raw: Any) -> NotebookNode | None:
    """The parts of a cell that matter: type, source, nbgrader's mark, id, attached pictures. None where there is nothing to read."""
    source = raw.get("source") if isinstance(raw, dict) else None
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str) or raw.get("cell_type") not in ("code", "markdown", "raw"):
        return None
    metadata, name, pictures = raw.get("metadata"), raw.get("id"), raw.get("attachments")
    mark = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    source = source.encode(errors="replace").decode()           # half a surrogate pair is JSON, but no text
    cell = NotebookNode(cell_type=raw["cell_type"], source=source, metadata=NotebookNode())
    cell.id = name if isinstance(name, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) else ""
    cell.mark = mark.get("grade_id") if isinstance(mark, dict) and isinstance(mark.get("grade_id"), str) else None
    cell.attachments = pictures if cell.cell_type == "markdown" and _pictures(pictures) else {}
    return cell


def _pictures(raw: Any) -> bool:
    """True for what nbformat calls attachments: name → type → base64."""
    return isinstance(raw, dict) and all(
        name.isprintable() and isinstance(kinds, dict) and all(isinstance(data, str) and data.isascii() for data in kinds.values())
        for name, kinds in raw.items())
