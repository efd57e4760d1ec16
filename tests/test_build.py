"""`hpml build`: determinism, nbgrader's metadata by nbgrader's own rules, ids that stay, decks that need nothing, kind errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator
from tiny_lab import LAB, ROOT, edit, make, tiny

from hpml import build, course
from hpml.build import deck, notebook
from hpml.course import CourseError

__all__ = ["tiny"]
STUDENT, SOLVED, DECK = "notebooks/04-tiny/04-tiny.ipynb", "solutions/04-tiny/04-tiny.ipynb", "slides/04-tiny.html"


def rendered() -> dict[str, str]:
    return {name: content.decode() for name, content in build.render(course.load().ready()).items()}


def cells(text: str) -> dict[str, dict]:
    return {cell["id"]: {**cell, "source": "".join(cell["source"])} for cell in json.loads(text)["cells"]}


def error(root: Path, old: str, new: str) -> str:
    """What the build says after an edit."""
    edit(root, old, new)
    with pytest.raises(CourseError) as caught:
        rendered()
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------- files


def test_makes_these_files_and_check_agrees(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 0
    made = {p.relative_to(tiny).as_posix() for folder in ("notebooks", "solutions", "slides")
            for p in (tiny / folder).rglob("*") if p.is_file() and "theme" not in p.parts}
    assert made == {STUDENT, SOLVED, DECK, "notebooks/04-tiny/figures/square.svg", "solutions/04-tiny/figures/square.svg"}
    assert build.main(["--check"]) == 0
    capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in (tiny / "notebooks").rglob("*")}
    assert build.main([]) == 0
    assert {p: p.stat().st_mtime_ns for p in (tiny / "notebooks").rglob("*")} == before, "files that are right are left alone"
    assert "written" not in capsys.readouterr().out


def test_a_script_of_the_lab_lies_beside_both_notebooks(tiny: Path) -> None:
    manifest = (tiny / "course.yml").read_text(encoding="utf-8")
    script = tiny / "labs" / "04-tiny" / "train.py"
    script.write_text("print(4)\n", encoding="utf-8")
    for name, said in (("train.py", None), ("gone.py", "cannot be read"), ("exercises.py", "students may"), ("../a", "students may")):
        changed = manifest.replace("    minutes: 10\n", f"    minutes: 10\n    files: [{name}]\n", 1)
        (tiny / "course.yml").write_text(changed, encoding="utf-8")
        course.load.cache_clear()
        if said is None:
            made = build.render(course.load().ready())
            assert made["notebooks/04-tiny/train.py"] == made["solutions/04-tiny/train.py"] == script.read_bytes()
        else:
            with pytest.raises(CourseError, match=said):
                build.render(course.load().ready())


def test_two_processes_make_the_same_bytes(tiny: Path) -> None:
    code = "from hpml import build, course, __version__; import sys\n" \
           "for n, c in sorted(build.render(course.load().ready()).items()): sys.stdout.buffer.write(n.encode() + c)"
    outputs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=tiny.parent,
                              env=os.environ | {"HPML_ROOT": str(tiny), "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert len(outputs) == 1
    assert outputs.pop() == b"".join(n.encode() + c for n, c in sorted(build.render(course.load().ready()).items()))


@pytest.mark.parametrize("name", [STUDENT, SOLVED, DECK, "notebooks/04-tiny/figures/square.svg"])
def test_check_names_a_changed_and_a_missing_file(tiny: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    build.main([])
    with (tiny / name).open("a") as file:
        file.write(" ")
    capsys.readouterr()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"{name} is not what its lab makes", "Run: ./course build"]
    (tiny / name).unlink()
    assert build.main(["--check", "04"]) == 1
    assert capsys.readouterr().err.splitlines() == [f"{name} is missing", "Run: ./course build"]


def test_check_fails_after_a_lab_changed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.main([])
    edit(tiny, "## A picture", "## Another picture")
    assert build.main(["--check"]) == 1
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [STUDENT, DECK, SOLVED, "Run:"]


def test_files_of_no_lab_are_named_and_never_removed(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.main([])
    mine = tiny / "notebooks" / "mine.ipynb"
    mine.write_text("{}")
    (tiny / "notebooks" / ".ipynb_checkpoints").mkdir()
    (tiny / "notebooks" / ".ipynb_checkpoints" / "x.ipynb").write_text("{}")
    capsys.readouterr()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == ["notebooks/mine.ipynb is made by no lab: remove it"]
    assert build.main([]) == 0
    assert mine.exists() and "notebooks/mine.ipynb: no lab makes this file" in capsys.readouterr().out


def test_a_students_work_is_not_overwritten(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.main([])
    path = tiny / STUDENT
    path.write_text(path.read_text().replace("raise NotImplementedError()", "return a * a"))
    work = path.read_text()
    edit(tiny, "## A picture", "## Another picture")
    capsys.readouterr()
    assert build.main([]) == 1
    assert "has answers in it (square)" in capsys.readouterr().err and path.read_text() == work
    path.write_text('{"cells": [')
    assert build.main([]) == 1
    assert "cannot be read as a notebook" in capsys.readouterr().err
    assert build.main(["--force"]) == 0
    assert build.main(["--check"]) == 0


def test_an_old_notebook_without_answers_is_replaced(tiny: Path) -> None:
    build.main([])
    edit(tiny, "The area of a square", "The surface of a square")
    assert build.main([]) == 0
    assert "The surface" in (tiny / STUDENT).read_text()


# --------------------------------------------------------------------------------------------------------- notebooks


def test_student_cells_and_their_metadata(tiny: Path) -> None:
    found = cells(rendered()[STUDENT])
    nbgrader = {name: {k: v for k, v in cell["metadata"]["nbgrader"].items() if k != "checksum"}
                for name, cell in found.items() if "nbgrader" in cell["metadata"]}
    flags, code = {"schema_version": 3, "task": False}, {"cell_type": "code"}
    assert nbgrader == {
        "given-preamble": {"grade_id": "given-preamble", **code, "grade": False, "solution": False, "locked": True, **flags},
        "predict-side": {"grade_id": "side", **code, "grade": False, "solution": True, "locked": False, **flags},
        "check-side": {"grade_id": "check-side", **code, "grade": True, "solution": False, "locked": True, "points": 1, **flags},
        "exercise-square": {"grade_id": "square", **code, "grade": False, "solution": True, "locked": False, **flags},
        "check-square": {"grade_id": "check-square", **code, "grade": True, "solution": False, "locked": True, "points": 3, **flags},
        "manual-explain": {"grade_id": "explain", "cell_type": "markdown", "grade": True, "solution": True, "locked": False, "points": 2.5,
                           **flags},
    }
    tagged = {name for name, cell in found.items() if cell["metadata"].get("tags") == ["raises-exception"]}
    assert tagged == {"check-side", "check-square", "code-square-3"}
    fixed = {name for name, cell in found.items() if cell["metadata"].get("editable") is False}
    assert fixed == {"given-preamble", "check-side", "check-square"}
    assert {name for name, cell in found.items() if cell["metadata"].get("deletable") is False} == set(nbgrader)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found.values())


def test_student_and_solution_say_what_the_source_says(tiny: Path) -> None:
    lab = course.load().ready()[0]
    wanted = notebook.in_notebook(notebook.read(lab))
    made = rendered()
    assert [c["source"] for c in cells(made[STUDENT]).values()] == [c.student for c in wanted]
    assert [c["source"] for c in cells(made[SOLVED]).values()] == [c.source for c in wanted]
    assert "### BEGIN SOLUTION" in made[SOLVED]
    for secret in ("area_of_the_square", "secret prediction", "twice the side"):
        assert secret in made[SOLVED] and secret not in made[STUDENT]
    assert "Only in the deck" not in made[SOLVED] and "Wait for guesses" not in made[STUDENT]


@pytest.mark.parametrize("name", [STUDENT, SOLVED])
def test_nbgrader_and_nbformat_accept_them(tiny: Path, name: str) -> None:
    made = nbformat.reads(rendered()[name], as_version=4)
    nbformat.validate(made)
    MetadataValidator().validate_nb(made)
    assert made.metadata.kernelspec.name == "python3" and "version" not in made.metadata.language_info


def test_nbgrader_would_grade_the_untouched_manual_answer_zero(tiny: Path) -> None:
    from nbgrader.utils import determine_grade
    made = {c.id: c for c in nbformat.reads(rendered()[STUDENT], as_version=4).cells}
    assert determine_grade(made["manual-explain"]) == (0, 2.5)
    made["manual-explain"].source = "It grows."
    assert determine_grade(made["manual-explain"]) == (None, 2.5)


def test_a_new_cell_changes_no_other_id(tiny: Path) -> None:
    before = list(cells(rendered()[STUDENT]))
    edit(tiny, '# %% [markdown] slide="notes"', '# %% [markdown]\n# Something new.\n\n# %%\nnew = 1\n\n# %% [markdown] slide="notes"')
    after = list(cells(rendered()[STUDENT]))
    assert [name for name in after if name in before] == before and set(after) - set(before) == {"text-something-new", "code-new-1"}


def test_ids_are_valid_and_unique_whatever_the_text(tiny: Path) -> None:
    added = ("Again", "Again", "Again, but longer", "# " + "word " * 40, "…", "…", "∑")
    extra = "".join(f"# %% [markdown]\n# {text}\n\n" for text in added)
    edit(tiny, '# %% [markdown] slide="notes"', extra + '# %% [markdown] slide="notes"')
    names = [c["id"] for c in json.loads(rendered()[STUDENT])["cells"]]
    assert len(names) == len(set(names)) == 17
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)


def test_values_are_filled_in(tiny: Path) -> None:
    made = rendered()
    assert "It is 412 times" in made[STUDENT] and "It is 412 times" in made[DECK] and "412 times the area" in made[SOLVED]
    assert all("{{" not in text for text in made.values())


def test_the_real_labs_read_as_they_are_written() -> None:
    """Every cell of a ready lab stands in its notebook or in its deck, and stubs are nbgrader's."""
    course.load.cache_clear()
    for lab in course.load().ready():
        found = notebook.read(lab)
        made = notebook.solution(lab, found)
        assert [c.source for c in notebook.student(made).cells] == [c.student for c in notebook.in_notebook(found)]
        MetadataValidator().validate_nb(made)


# ------------------------------------------------------------------------------------------------------------- decks


def test_the_deck_takes_slide_cells_only(tiny: Path) -> None:
    html = rendered()[DECK]
    assert html.count("<section><section>") == 3 and html.count("<section>") == 7
    assert "Only in the deck" in html and re.search(r'<aside class="notes">\s*<div class="prose">\s*<p>Wait for guesses', html)
    assert "raise" in html and "area_of_the_square" not in html and "BEGIN SOLUTION" not in html and "predict" not in html
    assert '<p class="source"><em>Euclid' in html and '<p class="takeaway"><strong>An area' in html
    assert '<span class="k">def</span>' in html


def test_formulas_are_mathml_and_figures_are_data(tiny: Path) -> None:
    html = rendered()[DECK]
    assert "$" not in html and html.count("<math ") == 3 and 'display="block"' in html
    assert 'src="data:image/svg+xml;base64,' in html


def test_the_deck_loads_only_its_theme(tiny: Path) -> None:
    html = rendered()[DECK]
    loaded = deck.LOADED.findall(html)
    assert {a for a in loaded if not a.startswith("data:")} == {
        "theme/reveal/reset.css", "theme/reveal/reveal.css", "theme/theme.css", "theme/reveal/reveal.js", "theme/reveal/notes.js",
        "theme/deck.js"}
    assert all((ROOT / "slides" / a).is_file() for a in loaded if a.startswith("theme/"))
    for word in ("mathjax", "require", "jquery"):
        assert word not in html.lower()
    assert not re.search(r"https?://(?!www\.w3\.org)", html)


@pytest.mark.parametrize(("old", "new", "says"), [
    ("$a^2$", r"$\frac{a$", "formula"),
    ("$a^2$", r"$\nosuchcommand a$", r"\nosuchcommand is unknown"),
    ("## A picture", "## A picture\n\n<img src='https://example.org/x.png'>", "there is no figure https://example.org/x.png"),
    ("## A picture", "## A picture\n\n<script src='https://example.org/x.js'></script>", "would load https://example.org/x.js"),
])
def test_what_a_deck_cannot_show_is_said(tiny: Path, old: str, new: str, says: str) -> None:
    message = error(tiny, old, new)
    assert says in message and message.startswith("labs/04-tiny/lab.py")


def test_a_deck_has_slides(tiny: Path) -> None:
    edit(tiny, 'slide="slide"', 'slide="skip"')
    assert "would be empty" in error(tiny, 'slide="subslide"', 'slide="skip"')


# ---------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(("old", "new", "says"), [
    ("{{times}}", "{{time}}", "labs/04-tiny/lab.py:5: {{time}} has no value in measured.json (did you mean 'times'?)"),
    ("figures/square.svg", "figures/sqare.svg", "labs/04-tiny/lab.py:38: there is no figure figures/sqare.svg in labs/04-tiny"),
    ("figures/square.svg", "../04-tiny/figures/square.svg", "figures lie in the lab's folder figures/"),
    ("square(3)", "square(3", "in this cell, line 1: '(' was never closed"),
    ('uses="square"', 'uses="squares"', "uses='squares' is no exercise and no given cell of this lab (did you mean 'square'?)"),
    ('verdict.\ncheck("square")', 'verdict.\nprint("well done")', "does not call check(\"square\")"),
])
def test_mistakes_in_a_lab_name_line_and_remedy(tiny: Path, old: str, new: str, says: str) -> None:
    assert says in error(tiny, old, new)


@pytest.mark.parametrize("text", ["{", '["a"]', '{"times": 412}'])
def test_measured_values_are_strings(tiny: Path, text: str) -> None:
    (tiny / "labs/04-tiny/measured.json").write_text(text)
    with pytest.raises(CourseError, match=r"labs/04-tiny/measured.json is"):
        rendered()


def test_magics_are_python_to_the_build(tiny: Path) -> None:
    edit(tiny, "square(3)", "%timeit -n 1 square(3)\n!ls")
    assert "%timeit" in rendered()[STUDENT]


def test_errors_are_one_line_and_exit_1(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["nosuch"]) == 1
    assert capsys.readouterr().err.startswith("hpml build: no lab is called 'nosuch'")
    (tiny / "labs" / "06-stray").mkdir()
    (tiny / "labs" / "06-stray" / "lab.py").write_text("# %%\n1\n")
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("hpml build: labs/06-stray is not in course.yml")
    (tiny / "course.yml").write_text((tiny / "course.yml").read_text().replace("minutes:", "minuets:"))
    course.load.cache_clear()
    assert build.main(["--check"]) == 1
    assert "unknown key 'minuets' (did you mean 'minutes'?)" in capsys.readouterr().err
    assert not (tiny / "notebooks").exists()


def test_importing_the_build_imports_no_framework() -> None:
    code = "import hpml.build, hpml.build.release, hpml.build.deck, sys; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# -------------------------------------------------------------------------------------------- nbgrader, from the outside


def nbgrader(*arguments: str, cwd: Path) -> str:
    """Run nbgrader as an instructor does; returns what it said."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"           # it calls alembic by name
    ran = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=cwd, text=True, timeout=280,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | {"PATH": path})
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.slow
def test_generate_assignment_makes_the_same_student_notebook(tiny: Path) -> None:
    build.main([])
    shutil.copy(ROOT / "nbgrader_config.py", tiny)
    nbgrader("generate_assignment", "04-tiny", "--force", cwd=tiny)
    assert build.main(["--check"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("lab", course.load().ready(), ids=lambda lab: lab.lab)
def test_stock_nbgrader_validates_and_autogrades(lab: course.Lab, tmp_path: Path) -> None:
    """Full marks for the solution, zero for the untouched notebook, by nbgrader's own commands."""
    from nbgrader.api import Gradebook

    solved = notebook.solution(lab, notebook.read(lab))
    untouched = notebook.student(solved)
    name = f"{lab.lab}.ipynb"
    answers = {c.id: c.source for c in solved.cells}
    handed_in = {"untouched": notebook.text(untouched)}
    for cell in untouched.cells:
        cell.source = answers[cell.id]
    handed_in["solved"] = notebook.text(untouched)
    for student, text in handed_in.items():
        build.write(tmp_path / "submitted" / student / lab.lab / name, text.encode())
    build.write(tmp_path / "solutions" / lab.lab / name, notebook.text(solved).encode())
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)

    # what a course's own prediction earns depends on the machine; everything else is full marks on every one
    kinds = {name: e.kind for name, e in lab.exercises.items()}
    said = nbgrader("validate", f"submitted/solved/{lab.lab}/{name}", cwd=tmp_path)
    failed = re.findall(r'^ +check\("(\w+)"\)', said, re.MULTILINE)
    assert {kinds[f] for f in failed} <= {"predict"}, said
    assert failed or "Success! Your notebook passes all the tests." in said
    said = nbgrader("validate", f"submitted/untouched/{lab.lab}/{name}", cwd=tmp_path)
    failed = re.findall(r'^ +check\("(\w+)"\)', said, re.MULTILINE)
    assert sorted(failed) == sorted(n for n, kind in kinds.items() if kind != "manual") and "Traceback" not in said

    nbgrader("generate_assignment", lab.lab, cwd=tmp_path)
    nbgrader("autograde", lab.lab, cwd=tmp_path)
    points = {kind: sum(e.points for e in lab.exercises.values() if e.kind == kind) for kind in ("code", "predict")}
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        scores = {s: gradebook.find_submission(lab.lab, s).score for s in handed_in}
        assert gradebook.find_submission(lab.lab, "solved").max_score == lab.points
    assert scores["untouched"] == 0
    assert points["code"] <= scores["solved"] <= points["code"] + points["predict"]


# ------------------------------------------------------------------------------------------------------- in a browser


@pytest.mark.browser
@pytest.mark.parametrize("name", ["04-tiny", *(lab.lab for lab in course.load().ready())])
def test_a_deck_opens_from_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No console message, no request but for the theme's files, no slide larger than the screen, formulas that are drawn, and paper."""
    from playwright.sync_api import sync_playwright

    from hpml.doctor import find_browser

    with monkeypatch.context() as patch:
        if name == "04-tiny":
            patch.setattr(course, "ROOT", make(tmp_path / "tiny", LAB))
            course.load.cache_clear()
        lab = course.load().lab(name)
        html = deck.render(lab, notebook.read(lab))
    course.load.cache_clear()
    (tmp_path / "theme").symlink_to(ROOT / "slides" / "theme")
    (tmp_path / "deck.html").write_text(html, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda e: said.append(str(e)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
        page.goto(f"file://{tmp_path}/deck.html")
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        total = page.evaluate("Reveal.getTotalSlides()")
        assert total == len(re.findall(r"<section>", html)) - len(re.findall(r"<section><section>", html))
        for number in range(1, total + 1):
            size = page.evaluate("(s => [s.scrollWidth, s.scrollHeight])(Reveal.getCurrentSlide())")
            assert size[0] <= 1280 and size[1] <= 720, f"slide {number} of {name} is too full: {size} of [1280, 720]"
            page.evaluate("Reveal.next(); Reveal.nextFragment()")
        if name == "04-tiny":
            page.evaluate("Reveal.slide(0, 1)")
            box = page.locator(".present math[display=block]").first.bounding_box()
            assert box and box["height"] > 60, "the sum is drawn with its limits above and below"
        page.goto(f"file://{tmp_path}/deck.html?print-pdf")
        page.wait_for_selector(".pdf-page")
        assert page.locator(".pdf-page").count() == total
        browser.close()
    assert said == []
    assert all(address.startswith(("data:", f"file://{tmp_path}/")) for address in asked)
