"""`hpml site`: the website of the course, static, with everything it needs in its own folder.

    course.yml            → the map of the course
    labs/*/lab.py         → a page for each lab: text, pictures and plots of the executed notebooks, and no answer
    slides/               → the decks
    docs/, CONTRIBUTING, CHANGELOG → pages

Sphinx with MyST-NB and the theme Furo make the pages. Formulas are MathML, pictures are files or data, fonts are the machine's:
nothing is loaded from another site, and the pages open from a folder, too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hpml import course
from hpml.course import CourseError

MARK = ".hpml-site"                     # makes a folder known as a site, which a newer one may replace

CONF: dict[str, Any] = {
    "extensions": ["myst_nb", "hpml.site.mathml"],
    "html_math_renderer": "mathml",
    "exclude_patterns": ["deploy/**"],
    "language": "en",
    "copyright": "the authors. Text: CC BY 4.0; code: MIT",
    "suppress_warnings": ["myst.header", "misc.highlighting_failure"],     # a lab may go from its title to ###, and write … in code
    "nb_execution_mode": "off",                     # hpml.site.execute has done it
    "nb_ipywidgets_js": {},                         # no kernel behind a page, and no library from elsewhere
    "nb_merge_streams": True,
    "myst_enable_extensions": ["dollarmath", "amsmath", "attrs_inline", "colon_fence"],
    "myst_heading_anchors": 3,
    "html_theme": "furo",
    "html_static_path": ["site.css"],
    "html_css_files": ["site.css"],
    "html_theme_options": {"top_of_page_buttons": []},
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_use_index": False,
    "pygments_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def make(to: Path, *, run: bool = True, instructor: bool = False) -> None:
    """Build the site into the empty folder `to`. Raises CourseError for every warning that Sphinx has."""
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError

    from hpml.site import stage

    title = course.load().title
    with tempfile.TemporaryDirectory(prefix="hpml-site-") as folder:
        staged, warnings = Path(folder) / "source", io.StringIO()
        staged.mkdir()
        stage.write(staged, run=run, instructor=instructor)
        settings = {**CONF, "project": title, "html_title": title}
        try:
            # a file, not overrides: the theme's own settings are known only after it is loaded
            (staged / "conf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()), encoding="utf-8")
            Sphinx(staged, staged, to, Path(folder) / "doctrees", "html", status=None, warning=warnings).build()
        except SphinxError as e:
            raise CourseError(f"Sphinx could not build the site: {e}") from None
    if said := re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).replace(f"{staged}/", "").strip():
        raise CourseError(f"the site has mistakes:\n{said}")
    shutil.copytree(course.ROOT / "slides", to / "slides", ignore=shutil.ignore_patterns("*.j2", "*.json"))
    (to / ".nojekyll").touch()          # hosts that leave out folders like _static do so no longer
    (to / MARK).touch()
    for left in (".buildinfo", "objects.inv"):
        (to / left).unlink(missing_ok=True)


def main(argv: list[str]) -> int:
    """Run `hpml site` with these arguments. Returns 0, or 1 where the site is not as it should be."""
    parser = argparse.ArgumentParser(prog="hpml site", description="Build the website of the course, static and whole.",
                                     epilog="Example: hpml site --to ~/site, then open ~/site/index.html in a browser.")
    add = parser.add_argument
    add("--to", type=Path, metavar="DIR", help="the folder to make; default: site/ in the course's folder")
    add("--check", action="store_true", help="build, name every broken link and every picture without a text, keep nothing")
    add("--no-outputs", action="store_true", help="pages without plots: the notebooks are not executed (minutes, once for each text)")
    add("--instructor", action="store_true", help="also notes and rubrics, which tell answers: not for a public place")
    options = parser.parse_args(argv)
    to = Path(os.path.abspath((options.to or course.ROOT / "site").expanduser()))
    try:
        with contextlib.ExitStack() as stack:
            if options.check:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpml-site-")))
            else:
                from hpml.build.release import instead_of
                folder = stack.enter_context(instead_of(to, force=True, mark=MARK, what="site"))
            make(folder, run=not options.no_outputs, instructor=options.instructor)
            from hpml.site.check import problems
            if wrong := problems(folder):
                raise CourseError("the site has mistakes:\n" + "\n".join(wrong))
            pages = len(list(folder.rglob("*.html")))
    except CourseError as e:
        print(f"hpml site: {e}", file=sys.stderr)
        return 1
    print(f"{pages} pages, no broken link." if options.check else f"{to / 'index.html'}: {pages} pages, no broken link.")
    return 0
