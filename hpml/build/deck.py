"""A lab's slide cells → one reveal.js deck, through nbconvert, that opens from a file and asks no network for anything.

Formulas become MathML and figures become data while the deck is built, so it needs neither MathJax nor its lab's folder: only
`slides/theme/` beside it.
"""

from __future__ import annotations

import re
from typing import Any

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import SlidesExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from hpml import course
from hpml.build.notebook import METADATA
from hpml.course import CourseError, Lab
from hpml.source import Cell, Source

LOADED = re.compile(r"""<(?:img|script|link|iframe|video|audio|source|object)\b[^>]*?\b(?:src|href|data)=["']([^"']+)""")


def mathml(tex: str, display: str = "inline") -> str:
    """The formula as MathML. Raises CourseError if it is not TeX that can be converted."""
    braces = re.sub(r"\\\\.", "", tex)
    if braces.count("{") != braces.count("}"):
        raise CourseError(f"the formula {tex.strip()!r} cannot be shown on a slide: its braces do not match")
    try:
        made: str = convert(tex.strip(), display=display)
    except Exception as e:                  # latex2mathml has twelve kinds of its own, and lets IndexError and others through
        raise CourseError(f"the formula {tex.strip()!r} cannot be shown on a slide: {type(e).__name__}") from None
    unknown = re.search(r">(\\[A-Za-z]+)<", made)
    if unknown:
        raise CourseError(f"the formula {tex.strip()!r} cannot be shown on a slide: {unknown[1]} is unknown to latex2mathml")
    return made


class _Renderer(IPythonRenderer):
    def paragraph(self, text: str) -> str:
        """A paragraph all in bold is the takeaway of its slide; one all in italics says where things come from."""
        for tag, name in (("strong", "takeaway"), ("em", "source")):
            if re.fullmatch(rf"<{tag}>(?:(?!</{tag}>).)*</{tag}>", text, re.DOTALL):
                return f'<p class="{name}">{text}</p>\n'
        return str(super().paragraph(text))

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


class Exporter(SlidesExporter):
    """nbconvert's slides with the template of `slides/theme/`, and MathML for MathJax."""

    def __init__(self) -> None:
        super().__init__(extra_template_basedirs=[str(course.ROOT / "slides")], template_name="theme")

    @pass_context
    def markdown2html(self, context: Any, text: str) -> str:
        renderer = _Renderer(escape=False, embed_images=True, exclude_anchor_links=True, path=context["resources"]["metadata"]["path"])
        return MarkdownWithMath(renderer=renderer).render(text)


def on_slides(found: Source) -> list[Cell]:
    """The cells that the deck takes, in order."""
    return [cell for cell in found.cells if (cell.slide or cell.only == "slides") and cell.slide != "skip"]


def _cell(cell: Cell, name: str) -> nbformat.NotebookNode:
    slide = {"slideshow": {"slide_type": cell.slide or "-"}}
    if cell.kind == "code":
        return nbformat.v4.new_code_cell(cell.student, id=name, metadata=slide)
    return nbformat.v4.new_markdown_cell(cell.student if cell.role == "manual" else cell.source, id=name, metadata=slide)


def render(lab: Lab, found: Source) -> str:
    """The deck as HTML. Raises CourseError where it would be empty, miss a figure, or need the network."""
    cells = on_slides(found)
    if not any(cell.slide in ("slide", "subslide") for cell in cells):
        raise CourseError(f'{found.path.relative_to(course.ROOT)}: no cell has slide="slide", so the deck of {lab.lab} would be empty')
    notebook = nbformat.v4.new_notebook(metadata={**METADATA, "title": lab.title},
                                        cells=[_cell(cell, f"slide-{n}") for n, cell in enumerate(cells)])
    resources = {"metadata": {"path": str(lab.folder), "name": lab.lab}, "course": course.load().title, "lab": lab}
    try:
        html, _ = Exporter().from_notebook_node(notebook, resources)
    except CourseError as e:
        raise CourseError(f"{found.path.relative_to(course.ROOT)}: {e}") from None
    for address in LOADED.findall(html):
        if not address.startswith(("data:", "theme/")):
            raise CourseError(f"{found.path.relative_to(course.ROOT)}: a slide would load {address}; "
                              "a deck holds everything itself: put the picture into the lab's folder figures/")
    return "\n".join(line.rstrip() for line in html.splitlines()).strip() + "\n"
