import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpml import cli, course
from hpml.course import CourseError


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    overview = capsys.readouterr().out
    for name in cli.RUN:
        assert f"  {name}" in overview
        try:
            code = cli.main([name, "--help"])
        except SystemExit as done:
            code = done.code
        assert code == 0
        assert "xample" in capsys.readouterr().out, name


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["chek"]) == 2
    assert "did you mean 'check'" in capsys.readouterr().err
    assert cli.main(["check", "04-konv-gemm"]) == 1
    err = capsys.readouterr().err
    assert "did you mean '04-conv-gemm'" in err and "Traceback" not in err


@pytest.mark.parametrize(("name", "page"), [("04", "/lab/tree/04-conv-gemm/04-conv-gemm.ipynb"), ("", "/lab")])
def test_the_address_that_is_printed_opens_the_lab(name: str, page: str, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    called: list[list[str]] = []
    given: dict[str, str] = {}
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/of/mine")
    monkeypatch.setattr(subprocess, "call", lambda command, env: called.append(command) or given.update(env) or 0)
    assert cli.main(["lab", *filter(None, [name]), "--no-browser"]) == 0
    assert f"--LabApp.default_url={page}" in called[0] and called[0][-1] in ("--no-browser", "--allow-root")
    assert "Ctrl-C" in capsys.readouterr().out
    ours, theirs = given["JUPYTER_CONFIG_PATH"].split(":")
    assert json.loads((Path(ours) / "labconfig" / "default_setting_overrides.json").read_text()) and theirs == "/of/mine"


def test_importing_the_package_and_its_command_line_imports_no_framework() -> None:
    code = "import sys, hpml, hpml.cli; print([m for m in ('tensorflow', 'keras', 'jupytext', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_answers_are_read_from_a_notebook(tiny: course.Lab, tmp_path: Path) -> None:
    def cell(source: str, grade_id: str | None = None) -> dict:
        metadata = {"nbgrader": {"grade_id": grade_id}} if grade_id else {}
        return {"cell_type": "code", "source": source.splitlines(True), "metadata": metadata}
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": [cell("def double(x): return 2", "double"), cell("def double(x): return 'elsewhere'"),
                                          cell("def top(x):\n    return 3"), cell("predict('guess', 2)"),
                                          {"cell_type": "markdown", "source": ["def total(x): ..."], "metadata": {}}]}))
    assert cli.read_answers(path, tiny) == {"double": "def double(x): return 2", "top": "def top(x):\n    return 3",
                                            "guess": "predict('guess', 2)"}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "\x00\xff"])
def test_a_notebook_that_is_none(tiny: course.Lab, tmp_path: Path, content: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CourseError, match="is not a notebook that can be read"):
        cli.read_answers(path, tiny)
    with pytest.raises(CourseError, match="there is no notebook"):
        cli.read_answers(tmp_path / "other.ipynb", tiny)


def test_check_solution_student_and_wrong(tiny: course.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "01-tiny", "--solution", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["outcome"] for r in rows] == ["pass"] * 5
    assert {"exercise", "outcome", "score", "max_score", "ratio", "low", "high", "target", "samples", "jail"} <= rows[0].keys()
    total = rows[3]
    assert total["low"] <= total["ratio"] <= total["high"] and total["target"] == 20 and total["samples"] >= 4
    assert cli.main(["check", "01-tiny", "--student"]) == 0
    assert "not attempted" in capsys.readouterr().out
    assert cli.main(["check", "01-tiny", "--wrong", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["file"], row["exercise"], row["outcome"], row["problems"]) == ("thrice.py", "double", "wrong", [])


def test_bench_rows(tiny: course.Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "01-tiny", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all({"name", "value", "low", "high", "unit", "goal", "met"} == row.keys() for row in rows) and len(rows) == 3


def test_what_a_students_distribution_lacks_is_said(tiny: course.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "hpml.build", None)
    assert cli.main(["build"]) == 1
    assert "this needs the author's checkout" in capsys.readouterr().err
    monkeypatch.setattr(course, "ROOT", tmp_path)
    assert cli.main(["test"]) == 1
    assert "there are no tests here" in capsys.readouterr().err
