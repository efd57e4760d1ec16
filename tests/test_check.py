"""`check` in a kernel's shell, with a referee that is made up: what it sends, shows, returns, keeps."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import hpml
from hpml import check as _  # noqa: F401  (the function shadows the module in the package)
from hpml import course
from hpml.course import CourseError
from hpml.referee.client import RefereeError
from hpml.verdict import Outcome, Verdict

module = __import__("sys").modules["hpml.check"]


class Made:
    """A referee that remembers what it was sent and answers as told."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []
        self.score, self.outcome, self.error = 2.0, Outcome.PASS, None

    def judge(self, lab: str, cells: dict[str, str], exercises: list[str]) -> list[Verdict]:
        self.sent.append(cells)
        if self.error:
            raise self.error
        return [Verdict(lab=lab, exercise=exercises[0], outcome=self.outcome, score=self.score, max_score=2, message="<b>said</b>",
                        evidence={"source_sha256": str(hash(cells.get(exercises[0]))), "lab_sha256": "1"})]


@pytest.fixture
def desk(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    desk = module.Desk()
    desk.referee = Made()
    monkeypatch.setattr(module, "_desk", desk)
    monkeypatch.delenv("HPML_REFEREE", raising=False)
    yield desk


@pytest.fixture
def shell(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    shell = InteractiveShell(config=Config({"HistoryManager": {"hist_file": ":memory:"}}))        # not into the reader's own history
    monkeypatch.setattr(module, "_shell", lambda: shell)
    hpml.lab("01-tiny")
    yield shell
    shell.history_manager.end_session()


def ran(desk: Any, source: str, cell_id: str | None = None) -> None:
    desk.record(SimpleNamespace(raw_cell=source, cell_id=cell_id))


def test_the_source_last_run_is_sent(desk: Any) -> None:
    hpml.lab("01-tiny")
    ran(desk, "def double(x): return 1")
    ran(desk, "def double(x): return 2")
    ran(desk, "predict('guess', 2)")
    ran(desk, "double(3)")
    assert hpml.check("double") == 2
    assert desk.referee.sent == [{"double": "def double(x): return 2", "guess": "predict('guess', 2)"}]


def test_the_exercise_cell_counts_where_the_front_end_tells_cells_apart(desk: Any) -> None:
    hpml.lab("01-tiny")
    ran(desk, "def double(x): return 'mine'", "exercise-double")
    ran(desk, "def double(x): return 'a try in another cell'", "other")
    assert desk.cells(desk.lab)["double"].endswith("'mine'")
    ran(desk, "def double(x): return 'again'", "exercise-double")
    assert desk.cells(desk.lab)["double"].endswith("'again'")


def test_points_are_returned_and_zero_is_one_line(desk: Any) -> None:
    hpml.lab("01-tiny")
    assert hpml.check("double") == 2.0
    desk.referee.score, desk.referee.outcome = 0, Outcome.WRONG
    with pytest.raises(module.NotYet, match=r"^double: wrong, 0 of 2 points so far.$") as error:
        hpml.check("double")
    assert error.value._render_traceback_() == ["double: wrong, 0 of 2 points so far."]


def test_the_report_is_shown_rich_and_plain(desk: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **k: shown.append(data) or SimpleNamespace(display_id="1"))
    monkeypatch.setattr("IPython.display.update_display", lambda data, **k: shown.append(data))
    hpml.check("double")
    assert shown[0] == {"text/plain": "Checking double …"}
    assert set(shown[1]) == {"text/html", "text/plain"}
    assert "double" in shown[1]["text/plain"] and "<b>said" not in shown[1]["text/html"]


@pytest.mark.parametrize("error", [RefereeError("the referee stopped"), CourseError("no referee here")])
def test_a_referee_that_fails_is_one_line_too(desk: Any, error: Exception) -> None:
    desk.referee.error = error
    with pytest.raises(module.NotYet, match=str(error)):
        hpml.check("double")


def test_names_are_looked_up_kindly(desk: Any) -> None:
    hpml.lab("01-tiny")
    with pytest.raises(module.NotYet, match="did you mean 'double'"):
        hpml.check("duble")
    with pytest.raises(CourseError, match="did you mean '01-tiny'"):
        hpml.lab("01-tin-y")


def test_a_students_copy_says_that_it_submits(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hpml.lab("01-tiny")
    desk.referee = None
    monkeypatch.setattr(course, "ROOT", tmp_path)
    with pytest.raises(module.NotYet, match="Submit the notebook"):
        hpml.check("double")


def test_measuring_the_same_answer_again_never_lowers_its_score(desk: Any) -> None:
    hpml.lab("01-tiny")
    ran(desk, "def double(x): return 1")
    assert hpml.check("double") == 2
    desk.referee.score, desk.referee.outcome = 1, Outcome.PARTIAL
    assert hpml.check("double") == 2
    ran(desk, "def double(x): return 'something else'")
    assert hpml.check("double") == 1


def test_verdicts_outlive_the_kernel(desk: Any, tiny: course.Lab) -> None:
    hpml.lab("01-tiny")
    hpml.check("double")
    saved = module._store(tiny) / "double.json"
    assert Verdict.model_validate_json(saved.read_text()).score == 2
    (saved.parent / "top.json").write_text("{half writ")
    desk.verdicts.clear()
    hpml.lab("01-tiny")
    assert list(desk.verdicts) == ["double"] and not (saved.parent / "top.json").exists()
    assert "Nothing is measured yet" in hpml.measured().data


def test_predictions_are_noted(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hpml.lab("01-tiny")
    hpml.predict("guess", ...)
    hpml.predict("guess", 9)
    assert "Your turn" in (out := capsys.readouterr().out) and "Noted: you predict 9 for guess." in out
    for bad in ("two", None, True, [1]):
        with pytest.raises(module.NotYet, match="takes one number"):
            hpml.predict("guess", bad)


def test_an_open_exercise_in_an_ordinary_cell_is_one_kind_line(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    result = shell.run_cell("def f():\n    raise NotImplementedError()\nf()")
    assert isinstance(result.error_in_exec, NotImplementedError)
    out = capsys.readouterr().out
    assert "Still open" in out and "Traceback" not in out
    shell.run_cell("y = z = f()")
    shell.run_cell("w = z + 1")                         # a name that an open exercise would have made
    shell.run_cell("w")
    out = capsys.readouterr().out
    assert out.count("Still open") == 3 and "NameError" not in out
    shell.run_cell("mistyped")
    out = capsys.readouterr().out
    assert "NameError" in out and "mistyped" in out and "Still open" not in out


def test_the_shell_tells_the_desk_what_was_run(shell: InteractiveShell, desk: Any) -> None:
    shell.run_cell("def double(x):\n    return 2 * x", store_history=True, cell_id="exercise-double")
    assert desk.cells(desk.lab)["double"] == "def double(x):\n    return 2 * x"
