"""A lab's page: what a student sees before the first answer, and the plots that the answers lead to. Never an answer.

The page is made of two runs. Text, code and printed output come from the run of the *student's untouched* notebook: nothing in it
can give anything away that a student does not have anyway. From the run of the solved notebook come pictures only, and only those of
cells that need an answer (`uses=` in the lab's source); what such cells print stays out. `leaks` then looks for lines of the solution.
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import nbformat
from nbformat import NotebookNode

from hpml import course
from hpml.course import CourseError, Exercise, Lab
from hpml.source import BEGIN, END, Source
from hpml.theme import called, plain

IMAGES = ("image/svg+xml", "image/png", "image/jpeg")
TELLING = 20                            # a line of a solution with fewer characters may stand anywhere


def _picture(output: Mapping[str, Any]) -> NotebookNode | None:
    """The picture in an output, as HTML with a text for those who do not see it; None if there is none."""
    data = output.get("data", {})
    html = data.get("text/html", "")
    said = " ".join(data.get("text/plain", "").split()).removeprefix("<figure: ").removesuffix(">") or "plot"
    said = "the picture of the exercise" if "hpml-verdict" in html else escape(said)
    if "<svg" in html and "application/vnd.jupyter.widget-view+json" not in data:
        named = re.sub(r'<svg\b(?![^>]*aria-label)', f'<svg aria-label="{said}"', html)
    else:
        kind = next((k for k in IMAGES if k in data), None)
        if kind is None:
            return None
        content = data[kind].encode() if kind == "image/svg+xml" else base64.b64decode(data[kind])
        named = f'<img class="picture" alt="{said}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
    return nbformat.v4.new_output("display_data", data={"text/html": named})


def _shown(output: NotebookNode) -> NotebookNode | None:
    """An output of the untouched notebook, for a page: pictures with their text, no widgets that need a kernel, no errors.

    A verdict stays if it has a picture: what the exercise is about, before the answer is right. Its evidence is of no use here.
    """
    if output.output_type == "error" or output.get("name") == "stderr":
        return None
    if output.output_type == "stream":
        return output
    html = output.data.get("text/html", "")
    if "hpml-verdict" in html:
        if "<svg" not in html:
            return None
        output = nbformat.from_dict({**output, "data": {"text/html": re.sub(r"<details\b.*?</details>", "", html, flags=re.DOTALL)}})
    return _picture(output) or output


def outputs(cell: NotebookNode, solved: NotebookNode) -> list[NotebookNode]:
    """What a code cell of the page shows below it.

    cell    the student's, as it was run untouched
    solved  the same cell of the solved notebook, as it was run
    """
    meta = cell.metadata.get("nbgrader", {})
    if meta.get("solution") or re.search(r"\bhpml\.measured\(", cell.source):
        return []
    if not meta and "raises-exception" in cell.metadata.get("tags", []):            # it needs an answer
        return [made for output in solved.outputs if output.output_type != "stream" and (made := _picture(output)) is not None]
    return [made for output in cell.outputs if (made := _shown(output)) is not None]


def page(lab: Lab, student: NotebookNode, solved: NotebookNode) -> NotebookNode:
    """The page of a lab as a notebook. Both notebooks are executed, or neither (then it shows no outputs)."""
    cells = []
    for cell, answer in zip(student.cells, solved.cells, strict=True):
        new = copy.deepcopy(cell)
        new.metadata = nbformat.from_dict({"tags": [_tag(cell)]} if _tag(cell) else {})
        if cell.cell_type == "code":
            new.outputs, new.execution_count = outputs(cell, answer), None
        elif cell.metadata.get("nbgrader", {}).get("solution"):
            entry = lab.exercises[cell.metadata.nbgrader.grade_id]
            new.source = f":::{{admonition}} Your own words ({_points(entry)})\n:class: hint\nA person reads and grades this.\n:::"
        cells.append(new)
    cells.insert(1, nbformat.v4.new_markdown_cell(facts(lab), id="facts"))
    return nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(student.metadata))


def _tag(cell: NotebookNode) -> str:
    meta = cell.metadata.get("nbgrader", {})
    kinds = {(False, True): "exercise", (True, False): "check"}
    return kinds.get((meta.get("grade", False), meta.get("solution", False)), "")


def _points(entry: Exercise) -> str:
    return f"{plain(entry.points)} point" + ("" if entry.points == 1 else "s")


def asked(entry: Exercise) -> str:
    """What an exercise is graded on, in words."""
    if entry.kind == "manual":
        return "text, read by a person"
    if entry.kind == "predict":
        return f"prediction, full credit within {100 * (entry.within or 0):g} %"
    goals = []
    for name, target in entry.targets.items():
        goal = f"{plain(target.full)} × as fast as" if name == "speedup" else f"{plain(100 * target.full)} % of"
        goals.append(f"{goal} {called(target.versus)}")
    if entry.peak_mb:
        goals.append(f"at most {plain(entry.peak_mb)} MB")
    return "code: right" + "".join(f", {goal}" for goal in goals)


def facts(lab: Lab) -> str:
    """The box under a page's title: how long, how many points, what comes before, where the notebook and the slides are."""
    known = {other.lab: other for other in course.load().labs}
    needs = [f"[{name}](../{name}/index.ipynb)" if known[name].status == "ready" else f"{name} (planned)" for name in lab.needs]
    rows = "\n".join(f"| `{name}` | {asked(entry)} | {plain(entry.points)} |" for name, entry in lab.exercises.items())
    return f"""\
<p class="facts">{lab.minutes} minutes · {plain(lab.points)} points · <a href="../../slides/{lab.lab}.html">slides</a>
· <a href="../../slides/{lab.lab}.html?print-pdf">slides for paper</a></p>

Comes after: {', '.join(needs) or 'nothing'}. Work on it: `./course lab {lab.lab}`

<details class="exercises"><summary>What is graded</summary>

| exercise | graded on | points |
|---|---|---:|
{rows}

</details>

Exercises are open here, as you will find them. Plots come from the machine that built this page: predict before you look."""


def leaks(text: str, found: Source) -> list[str]:
    """Lines of solutions that stand in `text` (a page's words) although the student's notebook does not have them."""
    public = "\n".join(cell.student for cell in found.cells)
    telling = []
    for cell in found.by_role("exercise", "predict").values():
        inside = cell.role == "predict"
        for line in map(str.strip, cell.source.splitlines()):
            inside = (inside or line == BEGIN) and line != END
            if inside and line != BEGIN and len(line) >= TELLING and line not in public and not line.startswith("#"):
                telling.append(line)
    return [line for line in telling if line in text]


def checked(lab: Lab, made: NotebookNode, found: Source) -> NotebookNode:
    """The page, if it gives nothing away. Raises CourseError otherwise."""
    words = "\n".join([*(cell.source for cell in made.cells),
                       *(str(output) for cell in made.cells for output in cell.get("outputs", []))])
    if told := leaks(words, found):
        raise CourseError(f"the page of {lab.lab} would show a line of its solution: {told[0]!r}")
    return made
