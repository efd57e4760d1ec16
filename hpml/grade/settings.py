"""nbgrader's own settings for a course folder, so that `hpml` and nbgrader's tools mean the same gradebook, exchange and penalties."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpml.course import CourseError

FILE = "nbgrader_config.py"


def config(folder: Path) -> Any:
    """The machine's settings (`jupyter --paths`), then those of the folder, as `nbgrader` itself reads them. Raises CourseError."""
    from jupyter_core.paths import jupyter_config_path
    from traitlets.config import Config, PyFileConfigLoader
    made = Config()
    for place in (*reversed(jupyter_config_path()), str(folder)):
        if (Path(place) / FILE).is_file():
            with _beside(folder):
                try:
                    made.merge(PyFileConfigLoader(FILE, path=place).load_config())
                except Exception as e:              # it is a program of the instructor's, and may raise anything
                    raise CourseError(f"{Path(place) / FILE} cannot be used: {type(e).__name__}: {e}") from None
    made.CourseDirectory.root = str(folder)
    return made


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Modules in the course folder can be imported, as where nbgrader is run: a penalty of one's own lies there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def penalties(folder: Path) -> Iterator[Any]:
    """nbgrader's step that takes off points for late work, with the method or plugin that the settings name."""
    from nbgrader.preprocessors import AssignLatePenalties

    from hpml.grade.collect import _quiet
    with _beside(folder):
        try:
            step = AssignLatePenalties(config=config(folder), log=_quiet)
            step.init_plugin()
        except Exception as e:
            raise CourseError(f"The penalty for late work cannot be used: {e}. {folder / FILE} names it, as "
                              "`c.LateSubmissionPlugin.penalty_method` or `c.AssignLatePenalties.plugin_class`.") from None
        yield step
