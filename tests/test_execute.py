"""Whole notebooks in the jail: what their cells show comes out, and nothing else goes in or out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import nbformat
import pytest
from grading import Class, empty_book, room  # noqa: F401

from hpml import course, grade
from hpml.grade import collect, engine, execute
from hpml.grade.jobs import Job, Outputs
from hpml.referee import jail

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def runner(tiny: course.Lab) -> Iterator[execute.Runner]:
    if problem := jail.bubblewrap_problem():
        pytest.skip(problem)
    made = execute.Runner(tiny)
    yield made
    made.close()


def shown(outputs: Outputs, name: str) -> str:
    """A cell's outputs as one text."""
    return " | ".join(o.get("text") or o.get("evalue") or o["data"].get("text/plain", "") for o in outputs[name]).strip()


def test_a_notebook_shows_what_it_shows(runner: execute.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "CELL_SECONDS", 2)
    cells = {
        "head": "import hpml\nfrom hpml import check, plots, predict\nhpml.lab('01-tiny')\nimport numpy as np",
        "check": "points = check('double')",
        "value": "1 + 1",
        "print": "print('said')",
        "error": "1 / 0",
        "open": "raise NotImplementedError()",
        "plot": "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "ours": "figure, axis = plots.figure(3, 2)\nfigure",
        "page": "from IPython.display import HTML, display\ndisplay(HTML('<script>alert(1)</script>'))",
        "magic": "%matplotlib inline\n%time 1",
        "secret": f"import os\nprint(os.path.exists({str(course.ROOT)!r}), os.path.exists('/tmp/course/labs'))",
        "for ever": "while True: pass",
        "last": "print('after')",
        "left": "os._exit(3)",
        "never": "print('never')"}
    found = runner.run(json.dumps(list(cells.items())))
    assert found["head"] == found["check"] == [] and shown(found, "value") == "2" and shown(found, "print") == "said"
    assert shown(found, "error") == "division by zero" and "Still open" in shown(found, "open") and len(found["open"]) == 1
    for name in ("plot", "ours"):
        pictures = [o["data"]["image/png"] for o in found[name] if "image/png" in o.get("data", {})]
        assert len(pictures) == 1 and base64.b64decode(pictures[0]).startswith(PNG)
    assert "script" not in json.dumps(found["page"]) and shown(found, "magic").endswith("1")
    assert shown(found, "secret") == "False False" and "more than 2 s" in shown(found, "for ever") and shown(found, "last") == "after"
    assert "left" not in found and "never" not in found
    assert shown(runner.run(json.dumps([["a", "print(5)"]])), "a") == "5"       # the next one finds nothing of it


def test_only_a_notebooks_kinds_of_output_come_out() -> None:
    good = {"output_type": "stream", "name": "stdout", "text": "x"}
    picture = {"output_type": "display_data", "metadata": {"a": 1}, "data": {"text/html": "<b>", "image/png": "<svg>", "text/plain": "y"}}
    bad = [3, {"output_type": "stream", "name": "stdin", "text": ""}, {"output_type": ["stream"]}]
    said = "\n".join(map(json.dumps, (["a", [good, picture, *bad]], ["b", 7], [{}, []], ["c", [good]], 3)))
    assert execute.clean(said.encode() + b"\n[", ["a", "b"]) == {
        "a": [good, {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "y"}}]}
    for junk in (b"", b"{", b"[1]", b"1", b"\xff", b"[" * 100_000):
        assert execute.clean(junk, ["a"]) == {}


def test_outputs_are_put_where_they_belong() -> None:
    cells = [nbformat.v4.new_code_cell("1", id="a"), nbformat.v4.new_markdown_cell("m", id="b"), nbformat.v4.new_code_cell("2", id="c")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert json.loads(collect.code(notebook)) == [["a", "1"], ["c", "2"]]
    collect.show(notebook, {"a": [{"output_type": "stream", "name": "stdout", "text": "x"}, {"output_type": "nonsense"}], "b": [{}]})
    nbformat.validate(notebook)
    assert [o.text for o in notebook.cells[0].outputs] == ["x"] and notebook.cells[2].outputs == []


def test_a_class_with_its_notebooks_run(room: Class, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    if problem := jail.bubblewrap_problem():
        pytest.skip(problem)
    ran: list[str] = []
    real = engine.Runners.run

    def run(self: engine.Runners, job: Job) -> Outputs:
        ran.append(job.student)
        return real(self, job)

    monkeypatch.setattr(engine.Runners, "run", run)

    def graded() -> dict[str, list[nbformat.NotebookNode]]:
        """What the code cells of ada's notebook show."""
        grade.Grading(room.lab, room.folder, room.judge, execute=True).run(["ada", "bad"], lambda graded: None)
        return {c.id: c.outputs for c in room.autograded("ada").cells if c.cell_type == "code"}

    node = room.solved()
    node.cells.append(nbformat.v4.new_code_cell("print('my own cell')", id="mine"))
    room.submit("ada", node)
    room.submit("bad", b"{")
    for _ in range(2):
        outputs = graded()
        assert outputs["mine"][0].text == "my own cell\n"
        assert len(outputs["check-double"]) == 1 and "text/html" in outputs["check-double"][0].data        # the verdict
        assert not outputs["exercise-double"]
    assert ran == ["ada"] and len(room.judge.asked) == 1                        # nothing was run a second time
    room.submit("ada", room.solved())                                           # the same answers in another notebook
    assert "mine" not in graded()
    assert ran == ["ada", "ada"] and len(room.judge.asked) == 1 and room.table()["ada"]["total"] == "10"
