"""What tests in a browser share: a page that fails the test when anything is wrong on it, and a page of one widget without a kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpml import widgets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ASSETS = Path(widgets.__file__).parent

# the model that the widget would have in a notebook lives in the page; window.saved has the state at each save
PAGE = """<!doctype html><meta charset="utf-8"><style>%s</style><body><div id="here"></div><script type="module">
%s
const state = %s, heard = {};
window.saved = [];
window.widget = widget;
window.model = {
  get: (k) => state[k], set: (k, v) => { state[k] = v; (heard[`change:${k}`] ?? []).forEach((f) => f()); },
  save_changes: () => { window.saved.push({ ...state }); },
  on: (e, f) => (heard[e] ??= []).push(f), off: (e, f) => { heard[e] = heard[e].filter((g) => g !== f); },
};
window.leave = widget.render({ model, el: document.getElementById("here") });
%s
</script>"""


def asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def widget_page(name: str, widget: Any, traits: str, more: str = "") -> str:
    """A page that shows a widget: its own script and style, these of its traits, and `more` script at the end."""
    script = asset(f"{name}.js").replace("export default", "const widget =")
    return PAGE % (asset(f"{name}.css"), script, json.dumps({trait: getattr(widget, trait) for trait in traits.split()}), more)


@contextmanager
def quiet_page(browser: Browser, text: str, **options: Any) -> Iterator[Page]:
    """A new page with this text. Whatever it writes to the console, and every error, fails the test at its end."""
    page = browser.new_page(**options)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.set_content(text)
    yield page
    page.close()
    assert problems == []
