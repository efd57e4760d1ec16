"""What holds for every page of a built site: links lead somewhere, nothing is loaded from elsewhere, pictures have a text.

Links to other sites are checked for their form only: a test that asks the network says nothing about the site.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("audio", "src"),
           ("object", "data"), ("embed", "src"), ("image", "href"), ("use", "href")}
OUTSIDE = ("http", "https", "mailto")
IMPORTED = re.compile(r"@import[^;]*https?:|url\(\s*[\"']?(?:https?:)?//")


@dataclass
class Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    mute: list[str] = field(default_factory=list)       # pictures without a text
    titled: bool = False
    language: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.titled |= tag == "title"
        self.language |= tag == "html" and bool(given.get("lang"))
        for name, value in given.items():
            if (tag, name) in LOADING and given.get("rel") not in ("canonical", "next", "prev", "search", "index"):
                self.loads.append(value)
            elif name == "href":
                self.links.append(value)
        if tag == "img" and not given.get("alt", "").strip() and given.get("aria-hidden") != "true":
            self.mute.append(given.get("src", "")[:60])
        if tag == "svg" and given.get("role") == "img" and not (given.get("aria-label") or given.get("aria-labelledby")):
            self.mute.append(f"svg {given.get('id', '')}".strip())


def read(path: Path) -> Page:
    """The page in a file."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _wrong_outside(address: str) -> str | None:
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return None if re.fullmatch(r"[^@\s]+@[^@\s]+", parts.path) else "is no mail address"
    return None if re.fullmatch(r"[\w.-]+\.\w+(:\d+)?", parts.netloc) and " " not in address else "is no address"


def problems(site: Path) -> list[str]:
    """Everything that is wrong with the pages of a folder, one sentence each; empty if nothing is."""
    pages = {path: read(path) for path in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site} has no pages"]
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        found += [f"{name}: {what}" for what in _page(path, page, pages, site)]
    for path in sorted(site.rglob("*.css")):
        if IMPORTED.search(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(site).as_posix()}: loads something from another site")
    return found


def _page(path: Path, page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    if not page.titled:
        yield "has no title"
    if not page.language:
        yield "does not say its language"
    for picture in page.mute:
        yield f"the picture {picture!r} has no text for those who do not see it"
    for address in dict.fromkeys((*page.links, *page.loads)):
        parts = urlsplit(address)
        if address in page.loads and (parts.netloc or parts.scheme in OUTSIDE):
            yield f"loads {address} from another site"
        elif parts.scheme in OUTSIDE:
            if wrong := _wrong_outside(address):
                yield f"{address} {wrong}"
        elif parts.scheme in ("data", "javascript"):
            if parts.scheme == "javascript":
                yield f"{address} is a script, not a link"
        elif parts.scheme or address.startswith("/"):
            yield f"{address} leads out of the site"
        else:
            yield from _inside(path, address, pages, site)


def _inside(path: Path, address: str, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    """Is there the file, and the place in it, that a link of the page `path` names?"""
    parts = urlsplit(address)
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    there = there / "index.html" if there.is_dir() else there
    if not there.is_relative_to(site.resolve()):
        yield f"{address} leads out of the site"
    elif not there.is_file():
        yield f"{address} is not there"
    elif parts.fragment and there.suffix == ".html":
        known = pages.get(there) or next((p for q, p in pages.items() if q.resolve() == there), None)
        hidden = parts.fragment.startswith("/")         # a place in a deck, which its script makes
        if known and not hidden and unquote(parts.fragment) not in known.ids:
            yield f"{address}: no {parts.fragment!r} in that page"
