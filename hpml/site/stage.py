"""The sources of the site, laid out for Sphinx: written pages as they are, the map and the lists from `course.yml`, a page for each lab."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat

from hpml import build, course, source, wrong
from hpml.course import CourseError, Lab
from hpml.site import execute
from hpml.site import lab as lab_page
from hpml.theme import plain

TRUSTED = ("lab.py", "exercises.py", "measure.py")         # in a lab's folder
# page → what it is for; written by hand, and for GitHub's readers as well, so their links are those of the repository
WRITTEN = {"docs/start.md": "students", "docs/instructor.md": "teaching", "docs/grading.md": "teaching", "docs/trust.md": "teaching",
           "docs/hub.md": "teaching", "docs/many-nodes.md": "teaching", "CONTRIBUTING.md": "authors", "CHANGELOG.md": "authors"}
LINK = re.compile(r"\]\(([^)#\s]+)")

MAP = """\
# {title}

Graded Jupyter labs that walk from one neuron, through convolution as a matrix product, AlexNet and ResNet, to training on many
workers with Horovod. In every lab you *predict* a cost, *measure* it, and *explain* the difference. A referee verifies that an answer
is **right** and that it is **measurably fast**, with a confidence interval, on a laptop as on a server.

```bash
./course lab      # the first time: some minutes
```

[What you need, and how to start](docs/start.md) · [How grades are made](docs/grading.md) · [For instructors](docs/instructor.md)

![A verdict in the notebook: two measured targets with their intervals, and the answer's place on the roofline](docs/verdict.png)

## The course

{count} labs in {parts} parts; {ready} are written, the others planned.

{rows}

{trees}
"""


def _row(lab: Lab) -> str:
    number, _, name = lab.lab.partition("-")
    if lab.status == "planned":
        return f"- **{number}** {lab.title} [planned]{{.later}}"
    needs = " and ".join(need[:2] for need in lab.needs)
    facts = f"{lab.minutes} minutes · {plain(lab.points)} points" + (f" · after {needs}" if needs else "")
    return (f"- **{number}** [{lab.title}](labs/{lab.lab}/index.ipynb)  \n"
            f'  {facts} · <a href="slides/{lab.lab}.html" aria-label="slides of lab {number}">slides</a>')


def _tree(caption: str, entries: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""])


def course_map(instructor: bool) -> str:
    """The first page: every lab of the manifest, and the trees that the side bar is made of."""
    found = course.load()
    rows, trees = [], [_tree("Start", [f"How to start <{name.removesuffix('.md')}>" for name, k in WRITTEN.items() if k == "students"])]
    for number, part in found.parts.items():
        labs = [lab for lab in found.labs if lab.part == number]
        rows += [f"### {part}", "", *map(_row, labs), ""]
        if ready := [f"{lab.lab[:2]} · {lab.title} <labs/{lab.lab}/index>" for lab in labs if lab.status == "ready"]:
            trees.append(_tree(part, ready))
    trees.append(_tree("Teaching", [name.removesuffix(".md") for name, k in WRITTEN.items() if k == "teaching"]
                       + (["instructor/index"] if instructor else [])))
    trees.append(_tree("Writing", [name.removesuffix(".md") for name, k in WRITTEN.items() if k == "authors"]))
    return MAP.format(title=found.title, count=len(found.labs), parts=len(found.parts), ready=len(found.ready()),
                      rows="\n".join(rows), trees="\n".join(trees))


def beside(name: str, text: str) -> Iterator[str]:
    """Files of the repository that the page `name` links to or shows. Raises CourseError for one that students must not have."""
    for address in LINK.findall(text):
        path = os.path.normpath(f"{Path(name).parent}/{address}")
        if (course.ROOT / path).is_file() and path not in WRITTEN:
            if path.startswith("solutions/") or (path.startswith("labs/") and Path(path).name in TRUSTED):
                raise CourseError(f"{name} links to {path}, which tells answers: the site cannot have it")
            yield path


def linked(text: str) -> str:
    """Names of labs in the tables of a page in docs/, as links to their pages or marked as planned."""
    known = {lab.lab: lab for lab in course.load().labs}

    def link(found: re.Match[str]) -> str:
        if found[1] not in known:
            return found[0]
        return f"[{found[1]}](../labs/{found[1]}/index.ipynb)" if known[found[1]].status == "ready" else f"{found[1]} [planned]{{.later}}"
    return re.sub(r"^\|.*$", lambda row: re.sub(r"`(\d\d-[a-z0-9-]+)`", link, row[0]), text, flags=re.MULTILINE)


def notes(lab: Lab) -> str:
    """An instructor's page about a lab: what to say, what answers in words are graded by, the mistakes that students make."""
    from hpml.build import notebook

    found = notebook.read(lab)
    said = [cell.source.strip() for cell in found.cells if cell.slide == "notes"]
    out = [f"# {lab.lab}: notes and rubrics", "", f"{lab.minutes} minutes, {plain(lab.points)} points. "
           f"[The lab](../labs/{lab.lab}/index.ipynb). [Not for students]{{.later}}", "",
           "## To say", "", *(f"- {' '.join(text.split())}" for text in said)]
    out += ["", "## Answers in words", ""]
    for name, entry in lab.exercises.items():
        if entry.kind == "manual":
            out += [f"`{name}`, {plain(entry.points)} points. The answer", "", *(f"- {line}" for line in entry.rubric), ""]
    out += ["## Mistakes that students make", "", "What the referee answers to each stands in `labs/" + lab.lab + "/wrong/`.", "",
            "| exercise | mistake | outcome |", "|---|---|---|"]
    out += [f"| `{w.exercise}` | {w.why.replace('|', chr(92) + '|')} | {w.outcome} |" for w in wrong.read(lab)]
    return "\n".join(out) + "\n"


def write(to: Path, *, run: bool = True, instructor: bool = False) -> None:
    """Everything that Sphinx reads, in the empty folder `to`. Raises CourseError for what is missing.

    run         execute the notebooks (or take them from the cache); without, the pages show no outputs
    instructor  also rubrics and notes, which tell answers
    """
    root = course.ROOT
    texts = {"index.md": course_map(instructor)}
    for name in WRITTEN:
        if not (root / name).is_file():
            raise CourseError(f"{name} is not here, and the site has a page of it: is {root} a whole checkout?")
        texts[name] = linked((root / name).read_text(encoding="utf-8"))
    for name, text in texts.items():
        build.write(to / name, text.encode())
        for other in beside(name, text):
            build.write(to / other, (root / other).read_bytes())
    shutil.copy(root / "hpml" / "site" / "site.css", to)
    for lab in course.load().ready():
        _lab(lab, to / "labs" / lab.lab, run)
    if instructor:
        (to / "instructor").mkdir()
        ready = course.load().ready()
        index = ["# Notes and rubrics", "", "**They tell answers: keep this build from students.**", "", "```{toctree}",
                 *(lab.lab for lab in ready), "```", ""]
        (to / "instructor" / "index.md").write_text("\n".join(index), encoding="utf-8")
        for lab in ready:
            (to / "instructor" / f"{lab.lab}.md").write_text(notes(lab), encoding="utf-8")


def _lab(lab: Lab, to: Path, run: bool) -> None:
    from hpml.build import notebook

    solved, beside = execute.plain(lab)
    student = notebook.student(solved)
    if run:
        student, solved = execute.run(lab, student, beside), execute.run(lab, solved, beside)
    made = lab_page.checked(lab, lab_page.page(lab, student, solved), source.read(lab))
    build.write(to / "index.ipynb", nbformat.writes(made).encode())
    for name, content in beside.items():
        build.write(to / name, content)
