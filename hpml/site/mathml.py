"""A Sphinx extension: formulas as MathML, made while the site is built, so that no page loads MathJax from anywhere."""

from __future__ import annotations

from typing import Any

from docutils.nodes import SkipNode
from sphinx.application import Sphinx
from sphinx.util import logging

from hpml.build.deck import mathml
from hpml.course import CourseError

log = logging.getLogger(__name__)


def _made(node: Any, display: str) -> str:
    try:
        return mathml(node.astext(), display)
    except CourseError as e:
        log.warning("%s", e, location=node)         # warnings stop the build
        return ""


def inline(visitor: Any, node: Any) -> None:
    """A formula in a line of text."""
    visitor.body.append(_made(node, "inline"))
    raise SkipNode


def block(visitor: Any, node: Any) -> None:
    """A formula of its own; on a narrow page it scrolls by itself."""
    visitor.body.append(f'<div class="formula" tabindex="0" role="group" aria-label="formula">{_made(node, "block")}</div>')
    raise SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
