"""What a notebook calls: `check("im2col")` sends the source of the exercise cells to the referee and shows its verdict."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from hpml import course
from hpml.course import CourseError
from hpml.referee import cells as text
from hpml.referee import queue
from hpml.referee.client import Referee, RefereeError
from hpml.verdict import Outcome, Verdict


class NotYet(Exception):
    """No points yet: one line in the notebook, no traceback. Stock nbgrader reads it as zero."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Withdrawn(KeyboardInterrupt):
    """The reader interrupted a check that waited elsewhere: one line, and Run All stops as at any interrupt."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Desk:
    """The state of one notebook kernel: its lab, the cells it ran, its referee, the verdicts so far."""

    def __init__(self) -> None:
        self.lab: course.Lab | None = None
        self.ran: dict[str, str] = {}               # cell id → source, newest last
        self.referee: Referee | None = None
        self.verdicts: dict[str, Verdict] = {}
        self.unborn: set[str] = set()               # names that cells would have made if their exercises were written

    def record(self, info: Any) -> None:
        """IPython's pre_run_cell hook."""
        key = getattr(info, "cell_id", None) or f"#{len(self.ran)}"
        self.ran.pop(key, None)
        self.ran[key] = info.raw_cell or ""

    def cells(self, lab: course.Lab) -> dict[str, str]:
        """The source last run of each exercise: from the cell with its id where the front end tells ids, else by what it defines."""
        sources = list(self.ran.values()) or [str(s) for s in _history()]
        found: dict[str, str] = {}
        for name, entry in lab.exercises.items():
            for source in sources:
                if (text.defines if entry.kind == "code" else text.predicts)(source, name):
                    found[name] = source
            if (by_id := self.ran.get(f"{'predict' if entry.kind == 'predict' else 'exercise'}-{name}")) is not None:
                found[name] = by_id
        return found


_desk = Desk()


def _history() -> list[str]:
    shell = _shell()
    return shell.user_ns.get("In", []) if shell else []


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _still_open(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None) -> list[str]:
    """An open exercise in an ordinary cell is no accident, nor is a name that such a cell would have made: one kind line each.

    Any other NameError is shown as ever.
    """
    if isinstance(error, NameError) and error.name not in _desk.unborn:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        return [str(error)]
    source = next(reversed(_desk.ran.values()), "")
    _desk.unborn |= text.assigns(source)
    lines = ["Still open: this cell needs an exercise above that is not written yet."]
    shell._showtraceback(kind, error, lines)
    return lines


def lab(name: str) -> None:
    """Say which lab this notebook is. The first cell of every notebook does."""
    _desk.lab = course.load().lab(name)
    for saved in _store(_desk.lab).glob("*.json"):
        try:
            verdict = Verdict.model_validate_json(saved.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            saved.unlink(missing_ok=True)           # half written or of another version: measured again when asked for
            continue
        _desk.verdicts[verdict.exercise] = verdict
    shell = _shell()
    if shell is not None and not getattr(shell, "_hpml_hooks", False):
        shell.events.register("pre_run_cell", _desk.record)
        shell.set_custom_exc((NotImplementedError, NameError), _still_open)
        shell._hpml_hooks = True
        if _desk.referee is None and not os.environ.get("HPML_REFEREE") and _trusted(_desk.lab):
            _referee().warm(_desk.lab.lab)          # it gets ready while the reader reads


def _trusted(lab: course.Lab) -> bool:
    """True if this copy of the course can check by itself."""
    return (lab.folder / "exercises.py").is_file()


def _referee() -> Referee:
    if _desk.referee is None:
        _desk.referee = Referee()
        atexit.register(_desk.referee.close)
    return _desk.referee


def cache() -> Path:
    """Where the course keeps what it measured: `$HPML_CACHE`, else ~/.cache/hpml."""
    return Path(os.environ.get("HPML_CACHE") or Path.home() / ".cache" / "hpml")


def _store(lab: course.Lab) -> Path:
    return cache() / "verdicts" / lab.lab


def _current(name: str) -> course.Lab:
    if _desk.lab is None:
        having = [found for found in course.load().ready() if name in found.exercises]
        if len(having) != 1:
            raise CourseError('say first which lab this is: hpml.lab("04-conv-gemm")')
        lab(having[0].lab)
    assert _desk.lab
    if name not in _desk.lab.exercises:
        raise CourseError(f"{_desk.lab.lab} has no exercise {name!r}{course.nearest(name, list(_desk.lab.exercises))}")
    return _desk.lab


def _keep(found: course.Lab, new: Verdict) -> Verdict:
    """Remember a verdict. Measuring the same answer again never lowers its score."""
    path = _store(found) / f"{new.exercise}.json"
    old = _desk.verdicts.get(new.exercise)
    same = old is not None and all(old.evidence.get(k) == new.evidence.get(k) for k in ("source_sha256", "lab_sha256"))
    if old is not None and same and old.score > new.score and new.outcome in (Outcome.PARTIAL, Outcome.TOO_NOISY):
        new.notes.append(f"The same answer earned {old.score:g} before, and keeps it: measuring again never lowers a score.")
        new.score, new.outcome = old.score, old.outcome
    _desk.verdicts[new.exercise] = new
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(new.model_dump_json(), encoding="utf-8")
        partial.replace(path)
    except OSError as e:
        new.notes.append(f"This verdict could not be saved in {path.parent}: {e.strerror}.")
    return new


def check(name: str, where: str | None = None) -> float:
    """Send the exercise's cells to the referee, show its verdict, return the points earned.

    where      "gpu": a GPU node measures, through the queue of the hub; default: this machine, or the hub's

    Raises NotYet, shown as one line, where nothing was earned; so Run All goes on (the cell is tagged `raises-exception`) and
    nbgrader counts zero.
    """
    from IPython.display import display, update_display

    from hpml import report  # draws: not needed to import hpml

    try:
        found = _current(name)
        if where not in (None, "gpu"):
            raise CourseError(f'check({name!r}, where={where!r}): `where` can be "gpu"; without it, this machine measures.')
        if where is None and _desk.referee is None and not os.environ.get("HPML_REFEREE") and not _trusted(found):
            raise RefereeError("This copy of the course has no referee of its own, and HPML_REFEREE names none. "
                               "Submit the notebook: it is checked there.")
        waiting = display({"text/plain": f"Checking {name} …"}, raw=True, display_id=True)
        if where:
            verdict = _keep(found, _elsewhere(found, name, waiting))
        else:
            verdict = _keep(found, _referee().judge(found.lab, _desk.cells(found), [name])[0])
        answer = {"text/html": report.html(verdict), "text/plain": report.text(verdict)}
        if waiting is not None:
            update_display(answer, display_id=waiting.display_id, raw=True)
        else:
            print(answer["text/plain"])
    except (CourseError, RefereeError) as e:
        raise NotYet(str(e)) from None
    if verdict.score <= 0:
        raise NotYet(f"{name}: {verdict.outcome}, 0 of {verdict.max_score:g} points so far.")
    return verdict.score


def _elsewhere(found: course.Lab, name: str, waiting: Any) -> Verdict:
    """The verdict of a GPU node; until it comes, the line `waiting` says where the check stands in the queue."""
    from IPython.display import update_display

    def told(stands: str) -> None:
        if waiting is not None:
            update_display({"text/plain": f"Checking {name} on a GPU node: {stands} …"}, display_id=waiting.display_id, raw=True)

    try:
        verdict = queue.judge(found.lab, _desk.cells(found), [name], told)[0]
    except KeyboardInterrupt:
        told("interrupted")
        raise Withdrawn(f"{name}: interrupted, so this check was taken out of the GPU queue.") from None
    verdict.notes.append(f"Checked through the GPU queue, on a node with {verdict.evidence.get('machine', 'an unknown processor')}.")
    return verdict


def predict(name: str, value: Any = ...) -> None:
    """Write a prediction down before you measure. `value` is a number, in the unit that the text asks for."""
    try:
        _current(name)
    except CourseError as e:
        raise NotYet(str(e)) from None
    if value is ...:
        print(f"Your turn: put a number in place of the dots, predict({name!r}, …)")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        print(f"Noted: you predict {value:g} for {name}.")
    else:
        raise NotYet(f"predict({name!r}, …) takes one number, such as 2.5, not {type(value).__name__}.")


def measured() -> Any:
    """The table "what you measured", filled from this reader's own verdicts."""
    from IPython.display import HTML

    from hpml import report

    done = [_desk.verdicts[n] for n in (_desk.lab.exercises if _desk.lab else ()) if n in _desk.verdicts]
    return HTML(report.measured_table(done))


__all__ = ["NotYet", "check", "lab", "measured", "predict"]

