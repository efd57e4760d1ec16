"""What holds for every widget: it asks nobody for anything, and where no kernel runs its static picture is shown."""

from __future__ import annotations

import re

import nbformat
import pytest
from browsing import ASSETS, asset
from nbconvert import HTMLExporter

from hpml import widgets

WIDGETS = [name for name in widgets.__all__ if not name.endswith("_svg")]


def test_every_widget_has_its_script_and_its_style() -> None:
    files = [path.name for path in ASSETS.iterdir() if path.suffix in (".css", ".js")]
    assert sorted(files) == sorted(name + ending for name in WIDGETS for ending in (".css", ".js"))


@pytest.mark.parametrize("name", WIDGETS)
def test_assets_ask_nobody_for_anything(name: str) -> None:
    for text in (asset(f"{name}.js"), asset(f"{name}.css")):
        assert not re.search(r"https?://|\bimport\s|\burl\(|\bfetch\(|\beval\(", text)


@pytest.mark.parametrize("name", WIDGETS)
def test_a_page_without_a_kernel_shows_the_static_picture(name: str) -> None:
    bundle = getattr(widgets, name)()._repr_mimebundle_()
    assert bundle is not None and "<svg" in bundle[0]["image/svg+xml"]
    cell = nbformat.v4.new_code_cell("w", outputs=[nbformat.v4.new_output("display_data", data=bundle[0])])
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert "data:image/svg+xml;base64" in page
    assert 'type="application/vnd.jupyter.widget-view+json"' not in page
