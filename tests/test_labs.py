"""What holds for every lab that course.yml calls ready."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from hpml import build, course, exercise, source, wrong
from hpml.exercise import Prediction
from hpml.referee.client import Referee
from hpml.verdict import Outcome, Verdict

LABS = [lab.lab for lab in course.load().ready()]
WRONG = [(lab, path.name) for lab in LABS for path in sorted((course.ROOT / "labs" / lab / "wrong").glob("*.py"))]


@pytest.fixture(scope="module")
def referee() -> Iterator[Referee]:
    """One referee for the whole file: its oracles and baselines stay warm."""
    with Referee(purpose="grade") as referee:
        yield referee


def judged(referee: Referee, name: str, answers: dict[str, str], exercises: list[str] | None = None) -> list[Verdict]:
    """Verdicts; what is pending, such as too noisy, is queued again, as grading does, twice at most."""
    verdicts = referee.judge(name, answers, exercises)
    for _ in range(2):
        again = [v.exercise for v in verdicts if v.outcome.pending]
        if again:
            new = {v.exercise: v for v in referee.judge(name, answers, again)}
            verdicts = [new.get(v.exercise, v) for v in verdicts]
    return verdicts


def run_all(kind: str, name: str, seconds: int) -> nbformat.NotebookNode:
    """Execute a generated notebook in a real kernel from its first to its last cell."""
    path = course.ROOT / kind / name / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=seconds, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def said(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(str(o.get("text") or o.get("traceback") or o.get("data", {}).get("text/plain", ""))
                     for cell in notebook.cells for o in cell.get("outputs", []))


@pytest.mark.parametrize("name", LABS)
def test_rebuilding_changes_nothing(name: str) -> None:
    assert build.main(["--check", name]) == 0


@pytest.mark.parametrize("name", LABS)
def test_code_fits_a_window_of_1280_pixels(name: str) -> None:
    cells = [cell for cell in source.read(course.load().lab(name)).cells if cell.kind == "code"]
    lines = {line for cell in cells for part in (cell.source, cell.student, cell.solution) for line in part.splitlines()}
    assert [line for line in sorted(lines) if len(line) > 96] == []


@pytest.mark.parametrize("name", LABS)
def test_prose_uses_every_measured_number_and_no_other(name: str) -> None:
    lab = course.load().lab(name)
    numbers = json.loads((lab.folder / "measured.json").read_text(encoding="utf-8"))
    prose = [cell.source for cell in source.read(lab).cells if cell.kind == "markdown"]
    assert {number for text in prose for number in re.findall(r"\{\{(\w+)\}\}", text)} == numbers.keys()
    assert all(isinstance(value, str) for value in numbers.values())


@pytest.mark.parametrize("name", LABS)
def test_predictions_say_where_a_difference_comes_from(name: str) -> None:
    lab = course.load().lab(name)
    declared = exercise.load(lab)
    for key in (key for key, entry in lab.exercises.items() if entry.kind == "predict"):
        prediction = declared[key]
        assert isinstance(prediction, Prediction) and prediction.explain is not None
        assert len(prediction.explain(1.0, 2.0)) > 40, key


@pytest.mark.parametrize("name", LABS)
def test_the_solution_earns_full_marks(name: str, referee: Referee) -> None:
    lab = course.load().lab(name)
    verdicts = judged(referee, name, source.read(lab).answers)
    less = {v.exercise: (str(v.outcome), v.score, v.message) for v in verdicts
            if v.score < v.max_score and v.outcome is not Outcome.TOO_NOISY}
    assert less == {}, "full marks or, on a busy machine, too noisy; never less"
    assert all(v.picture for v in verdicts if lab.exercises[v.exercise].kind == "code"), "every exercise has its picture"


@pytest.mark.parametrize("name", LABS)
def test_the_untouched_notebook_earns_zero_and_runs_to_its_end(name: str, referee: Referee, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    lab = course.load().lab(name)
    for v in referee.judge(name, source.read(lab).stubs):
        assert (v.outcome, v.score) == (Outcome.NOT_ATTEMPTED, 0) and v.message
    with monkeypatch.context() as patch:
        patch.setenv("HPML_CACHE", str(tmp_path))           # no verdicts of an earlier reader
        notebook = run_all("notebooks", name, 120)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip())
    text = said(notebook)
    assert "Traceback" not in text and "NotImplementedError" not in text
    for key, entry in lab.exercises.items():
        if entry.kind != "manual":
            assert f"{key}: not attempted, 0 of {entry.points:g} points so far." in text


@pytest.mark.slow
@pytest.mark.parametrize("name", LABS)
def test_the_solution_notebook_runs_without_a_warning(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPML_CACHE", str(tmp_path))
    notebook = run_all("solutions", name, 300)
    bad = [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error" or o.get("name") == "stderr"]
    assert bad == []


@pytest.mark.parametrize("name", LABS)
def test_there_are_at_least_five_wrong_answers(name: str) -> None:
    lab = course.load().lab(name)
    files = wrong.read(lab)
    assert len(files) >= 5
    gradable = {n for n, e in lab.exercises.items() if e.kind == "code"}
    assert gradable <= {w.exercise for w in files}, "every exercise has a wrong answer"


@pytest.mark.parametrize(("name", "file"), WRONG)
def test_a_wrong_answer_fails_exactly_its_named_check(name: str, file: str, referee: Referee) -> None:
    lab = course.load().lab(name)
    w = wrong.parse(lab.folder / "wrong" / file, lab)
    answers = source.read(lab).answers | {w.exercise: w.source}
    later = [n for n in wrong.dependents(lab, w.exercise) if lab.exercises[n].kind == "code" and not lab.exercises[n].shape]
    verdicts = judged(referee, name, answers, [w.exercise, *later])
    own = verdicts[0]
    if own.outcome is Outcome.TOO_NOISY and w.outcome is Outcome.PARTIAL:
        pytest.skip("this machine is too busy to measure how slow this right answer is")
    assert wrong.complaints(w, verdicts) == []
    assert own.score < own.max_score and own.message
    solution = source.read(lab).by_role("exercise", "predict")[w.exercise].solution
    assert not any(line.strip() in (own.hint or "") for line in solution.splitlines() if len(line.strip()) > 12), "a hint gives no code"


@pytest.mark.slow
@pytest.mark.parametrize("name", LABS)
def test_measured_exercises_stand_on_the_courses_answer_where_theirs_is_wrong(name: str, referee: Referee) -> None:
    """One wrong answer for each exercise that a measured one builds on: it takes nothing from that one."""
    lab = course.load().lab(name)
    seen: set[str] = set()
    for w in wrong.read(lab):
        later = [n for n in wrong.dependents(lab, w.exercise) if lab.exercises[n].shape]
        if later and w.exercise not in seen:
            seen.add(w.exercise)
            verdicts = referee.judge(name, source.read(lab).answers | {w.exercise: w.source}, [w.exercise, *later])
            assert wrong.complaints(w, verdicts) == []
