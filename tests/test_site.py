"""The site: what a lab's page shows and hides, what the check of a built site finds, and the real site in a real browser."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from playwright.sync_api import Browser, Page

from hpml import cli, course, source
from hpml.build import notebook, release
from hpml.course import CourseError
from hpml.site import check, execute, stage
from hpml.site import lab as lab_page

LAB = "04-conv-gemm"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" role="img"><path d="M0 0"/></svg>'


def printed(text: str) -> NotebookNode:
    return nbformat.v4.new_output("stream", text=text)


def drawn(**data: str) -> NotebookNode:
    kinds = {"html": "text/html", "svg": "image/svg+xml", "plain": "text/plain", "widget": "application/vnd.jupyter.widget-view+json"}
    return nbformat.v4.new_output("execute_result", data={kinds[k]: v for k, v in data.items()})


def cell(text: str, *made: NotebookNode, tags: tuple[str, ...] = (), **nbgrader: object) -> NotebookNode:
    metadata = {"tags": list(tags)} | ({"nbgrader": nbgrader} if nbgrader else {})
    return nbformat.v4.new_code_cell(text, outputs=list(made), metadata=metadata)


# ------------------------------------------------------------------------------------------------ what a page shows


def test_what_an_answer_prints_stays_out_and_its_plots_come_in() -> None:
    untouched = cell("plot(double(2))", printed("Still open"), tags=("raises-exception",))
    solved = cell("plot(double(2))", printed("it is 4"), drawn(plain="4"), drawn(html=f"<div>{SVG}</div>", plain="<figure: twice as much>"),
                  tags=("raises-exception",))
    shown = lab_page.outputs(untouched, solved)
    assert len(shown) == 1 and 'aria-label="twice as much"' in shown[0].data["text/html"]
    assert "4" not in str(shown)


def test_given_cells_show_what_the_untouched_notebook_printed() -> None:
    shown = lab_page.outputs(cell("1 + 1", printed("untouched")), cell("1 + 1", printed("solved")))
    assert [o.text for o in shown] == ["untouched"]


@pytest.mark.parametrize("text", ["def double(x):\n    raise NotImplementedError()", 'predict("guess", ...)'])
def test_cells_to_answer_show_no_output(text: str) -> None:
    made = cell(text, printed("anything"), grade=False, solution=True, grade_id="double")
    assert lab_page.outputs(made, made) == []


def test_the_readers_own_table_and_errors_are_no_part_of_a_page() -> None:
    error = nbformat.v4.new_output("error", ename="NotYet", evalue="0 of 3", traceback=[])
    assert lab_page.outputs(cell("hpml.measured()", drawn(html="<table>")), cell("")) == []
    assert lab_page.outputs(cell("x", error), cell("x", printed("solved"))) == []


def test_a_verdict_stays_for_its_picture_without_its_evidence() -> None:
    verdict = '<section class="hpml-verdict">still open{}<details><summary>Evidence</summary>seed</details></section>'
    assert lab_page.outputs(cell("check('x')", drawn(html=verdict.format(""))), cell("")) == []
    [shown] = lab_page.outputs(cell("check('x')", drawn(html=verdict.format(SVG))), cell(""))
    html = shown.data["text/html"]
    assert "still open" in html and "seed" not in html and 'aria-label="the picture of the exercise"' in html


def test_a_widget_becomes_its_static_picture_with_its_text() -> None:
    widget = drawn(widget="{}", svg=SVG, plain='im2col of a "picture"')
    [shown] = lab_page.outputs(cell("w", widget), cell("w"))
    html = shown.data["text/html"]
    assert list(shown.data) == ["text/html"] and 'alt="im2col of a &quot;picture&quot;"' in html
    assert base64.b64encode(SVG.encode()).decode() in html


def test_a_page_of_a_lab(tiny: course.Lab) -> None:
    solved, _ = execute.plain(tiny)
    made = lab_page.page(tiny, notebook.student(solved), solved)
    text = "\n".join(c.source for c in made.cells)
    assert "raise NotImplementedError()" in text and "BEGIN SOLUTION" not in text
    assert lab_page.leaks(text, source.read(tiny)) == []
    assert f"{tiny.minutes} minutes" in made.cells[1].source
    assert all(f"`{name}`" in made.cells[1].source for name in tiny.exercises)


@pytest.mark.parametrize("lab", course.load().ready(), ids=lambda lab: lab.lab)
def test_a_solution_would_be_found_on_a_page(lab: course.Lab) -> None:
    found = notebook.read(lab)
    solved, _ = execute.plain(lab)
    student = notebook.student(solved)
    lab_page.checked(lab, lab_page.page(lab, student, solved), found)
    for name, one in found.by_role("exercise").items():
        spoilt = lab_page.page(lab, student, solved)
        spoilt.cells.append(nbformat.v4.new_markdown_cell(one.solution))
        if lab_page.leaks(one.solution, found):             # one of a few short lines has nothing that tells
            with pytest.raises(CourseError, match="would show a line of its solution"):
                lab_page.checked(lab, spoilt, found)
        else:
            assert len(one.solution.splitlines()) - len(one.student.splitlines()) < 4, name


def test_a_run_is_kept_until_the_text_or_a_file_beside_it_changes() -> None:
    assert execute.key("text", b"file") == execute.key("text", b"file")
    assert len({execute.key("text", b"file"), execute.key("text"), execute.key("text", b"other"), execute.key("other", b"file")}) == 4


# -------------------------------------------------------------------------------------------------- pages and words


def test_the_map_names_every_lab_and_links_the_written_ones() -> None:
    found, text = course.load(), stage.course_map(instructor=False)
    for lab in found.labs:
        assert lab.title in text
        assert (f"(labs/{lab.lab}/index.ipynb)" in text) == (lab.status == "ready")
    assert "instructor/index" not in text and "instructor/index" in stage.course_map(instructor=True)


def test_schedules_name_labs_in_an_order_that_works() -> None:
    labs = {lab.lab: lab for lab in course.load().labs}
    text = (course.ROOT / "docs" / "instructor.md").read_text(encoding="utf-8")
    for weeks, heading in ((14, "## Fourteen weeks"), (10, "## Ten weeks")):
        rows = re.findall(r"^\| (\d+) \| (.+) \|$", text.partition(heading)[2].partition("\n## ")[0], re.MULTILINE)
        assert [int(n) for n, _ in rows] == list(range(1, weeks + 1))
        order = re.findall(r"`(.+?)`", " ".join(names for _, names in rows))
        assert order == sorted(set(order)) and set(order) <= labs.keys()
        for name in order:
            assert set(labs[name].needs) <= set(order[: order.index(name)]), name
    assert len(order) < len(labs)


def test_names_of_labs_become_links_where_there_is_a_page() -> None:
    text = stage.linked("| 1 | `04-conv-gemm`, `20-capstone` |")
    assert "[04-conv-gemm](../labs/04-conv-gemm/index.ipynb)" in text
    assert course.load().labs[-1].status == "ready" or "20-capstone [planned]{.later}" in text


def test_rubrics_are_for_instructors_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = course.load().lab(LAB)
    rubric = lab.exercises["explain_knee"].rubric[0]
    assert rubric in stage.notes(lab) and "exchanged" in stage.notes(lab)
    monkeypatch.setattr(course.Course, "ready", lambda self: (lab,))
    stage.write(tmp_path, run=False)
    assert not any(rubric in path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.suffix in (".md", ".ipynb"))


def test_students_do_not_get_the_generator() -> None:
    assert not any("site" in path.parts for path in release.package(course.ROOT))


# ------------------------------------------------------------------------------------------------ the check of a site

PAGE = '<html lang="en"><title>t</title>{}</html>'


@pytest.mark.parametrize(("body", "said"), [
    ('<a href="nowhere.html">x</a>', "nowhere.html is not there"),
    ('<a href="#nowhere">x</a>', "no 'nowhere' in that page"),
    ('<a href="other.html#nowhere">x</a>', "no 'nowhere' in that page"),
    ('<a href="../secret.html">x</a>', "leads out of the site"),
    ('<a href="/root.html">x</a>', "leads out of the site"),
    ('<a href="https://no spaces">x</a>', "is no address"),
    ('<a href="javascript:x()">x</a>', "is a script"),
    ('<img src="a.png">', "has no text for those who do not see it"),
    ('<svg role="img"></svg>', "has no text for those who do not see it"),
    ('<script src="https://cdn.example.org/x.js"></script>', "from another site"),
    ('<link rel="stylesheet" href="//cdn.example.org/x.css">', "from another site"),
])
def test_what_is_wrong_with_a_page_is_named(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "site").mkdir()
    for name in ("secret.html", "site/other.html"):
        (tmp_path / name).write_text(PAGE.format('<p id="here">'))
    (tmp_path / "site" / "a.png").touch()
    (tmp_path / "site" / "index.html").write_text(PAGE.format(body))
    [problem] = check.problems(tmp_path / "site")
    assert problem.startswith("index.html: ") and said in problem


def test_a_good_page_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text(PAGE.format('<p id="here">'))
    (tmp_path / "index.html").write_text(PAGE.format(
        '<a href="sub/#here">x</a><a href="https://example.org/a?b=c">x</a><a href="#top" id="top">x</a>'
        '<img alt="a dot" src="data:image/gif;base64,R0">'))
    assert check.problems(tmp_path) == []
    (tmp_path / "index.html").write_text("<p>no title, no language")
    assert len(check.problems(tmp_path)) == 2
    assert check.problems(tmp_path / "sub" / "none") != []


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").touch()
    assert cli.main(["site", "--no-outputs", "--to", str(tmp_path)]) == 1
    assert "is not empty and no site either" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------- the real site


def build(to: Path, root: Path, *options: str) -> None:
    """As a command, in a process of its own: Sphinx's own warnings are not ours."""
    done = subprocess.run([sys.executable, "-m", "hpml.cli", "site", "--to", str(to), *options], capture_output=True, text=True,
                          env={**os.environ, "HPML_ROOT": str(root)})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a course of which only one lab is written, without outputs."""
    folder = tmp_path_factory.mktemp("site")
    root = folder / "course"
    root.mkdir()
    for path in course.ROOT.iterdir():
        if path.name != "course.yml" and not path.name.startswith("."):
            (root / path.name).symlink_to(path)
    (root / "course.yml").write_text(release.manifest([course.load().lab(LAB)]), encoding="utf-8")
    build(folder / "site", root, "--no-outputs")
    return folder / "site"


def test_the_site_is_whole(built: Path) -> None:
    assert check.problems(built) == []
    page = (built / "labs" / LAB / "index.html").read_text(encoding="utf-8")
    assert "<math" in page and "raise" in page and "stride_tricks.as_strided(x, shape, strides, writeable" not in page
    assert (built / "slides" / f"{LAB}.html").is_file() and not list(built.rglob("*.j2"))


# Text whose contrast with what lies behind it is below WCAG's AA (4.5, or 3 for large type); text over pictures is left out.
CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
  const light = rgb => { const [r, g, b] = rgb.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (top, a, under) => top.map((v, i) => a * v + (1 - a) * under[i]);
  const paper = e => { const layers = [];
    for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); layers.push(c); if (c.a === 1) break; }
    return layers.reverse().reduce((under, c) => over(c.rgb, c.a, under), [255, 255, 255]); };
  const low = new Map(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const e = node.parentElement, style = getComputedStyle(e);
    if (!node.data.trim() || e.closest('svg, .visually-hidden, .sr-only, script, style, noscript')) continue;
    if (!e.checkVisibility({checkOpacity: true})) continue;
    const under = paper(e), c = parse(style.color);
    let alpha = c.a; for (let up = e; up; up = up.parentElement) alpha *= Number(getComputedStyle(up).opacity);
    const [high, deep] = [light(over(c.rgb, alpha, under)), light(under)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (deep + 0.05);
    if (ratio < (large ? 3 : 4.5)) low.set(`${e.tagName}.${e.className} ${style.color} ${ratio.toFixed(2)}`, node.data.trim().slice(0, 30));
  }
  return [...low];
}"""


def visit(browser: Browser, folder: Path, names: list[str], width: int, scheme: str) -> list[str]:
    """What is wrong with pages in a browser: console errors, requests that fail or leave, a page that is too wide, faint text."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)        # type: ignore[arg-type]
    page: Page = context.new_page()
    page.on("console", lambda message: wrong.append(f"console: {message.text}") if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("request", lambda request: wrong.append(f"asks {request.url}") if not request.url.startswith(("file:", "data:")) else None)
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    for name in names:
        page.goto((folder / name).as_uri())
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wrong += [f"{name}: {over} px too wide for {width}"] if over > 0 else []
        wrong += [f"{name}, {scheme}: faint {where}: {text!r}" for where, text in page.evaluate(CONTRAST)]
    context.close()
    return wrong


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_in_a_browser_on_a_phone(built: Path, browser: Browser, scheme: str) -> None:
    names = ["index.html", "docs/start.html", "docs/instructor.html", f"labs/{LAB}/index.html"]
    assert visit(browser, built, names, 390, scheme) == []


@pytest.mark.browser
def test_what_is_wrong_in_a_browser_is_seen(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(PAGE.format(
        '<body style="background: #fff"><p style="color: #999">faint</p><p style="color: #666">fine</p>'
        '<div style="width: 900px">wide</div><img alt="x" src="gone.png">'))
    said = "\n".join(visit(browser, tmp_path, ["bad.html"], 390, "light"))
    assert "'faint'" in said and "'fine'" not in said and "px too wide" in said and "gone.png" in said


@pytest.mark.slow
@pytest.mark.browser
def test_the_whole_site_with_its_outputs(browser: Browser, tmp_path: Path) -> None:
    """Every notebook executed (minutes, once for each text), every page in light and dark, on a phone and a desk."""
    to = tmp_path / "site"
    build(to, course.ROOT, "--instructor")
    names = [p.relative_to(to).as_posix() for p in sorted(to.rglob("*.html")) if p.parent.name != "slides"]
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            assert visit(browser, to, names, width, scheme) == []
