"""The decks in a real browser: they present, the speaker's view opens with its notes, and they print to PDF, one page a slide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tiny_lab import make

from hpml import course
from hpml.build import deck, notebook

pytestmark = pytest.mark.browser

READY = "() => window.Reveal?.isReady()"
LABS = [lab.lab for lab in course.load().ready() if (course.ROOT / "slides" / f"{lab.lab}.html").is_file()]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which any error, and any request that leaves this machine, fails the test."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    context.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:", "blob:", "about:")) else None)
    yield context.new_page()
    context.close()
    assert wrong == []


def opened(page: Page, lab: str, query: str = "") -> str:
    """The deck, presenting; returns its address."""
    address = (course.ROOT / "slides" / f"{lab}.html").as_uri() + query
    page.goto(address)
    page.wait_for_function(READY)
    return address


@pytest.mark.parametrize("lab", LABS)
def test_a_deck_presents_every_slide(page: Page, lab: str) -> None:
    opened(page, lab)
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total == sum(c.slide in ("slide", "subslide") for c in deck.on_slides(notebook.read(course.load().lab(lab))))
    seen = set()
    for _ in range(200):
        seen.add(page.evaluate("JSON.stringify(Reveal.getIndices().h * 100 + Reveal.getIndices().v)"))
        assert page.locator("section.present:not(.stack)").inner_text().strip()
        if page.evaluate("Reveal.isLastSlide()"):
            break
        page.keyboard.press("Space")
    assert len(seen) == total


@pytest.mark.parametrize("lab", LABS)
def test_type_shrinks_no_further_than_a_full_slide_needs(page: Page, lab: str) -> None:
    opened(page, lab)
    slack = page.evaluate("""Reveal.getSlides().filter(s => s.style.fontSize).flatMap(s => {
        const shown = [s.parentElement, s], size = parseFloat(s.style.fontSize);
        shown.forEach(e => e.style.display = 'block');
        s.style.fontSize = `${size + 0.021}em`;
        const fits = s.scrollHeight <= 720 && s.scrollWidth <= 1280;
        s.style.fontSize = `${size}em`;
        shown.forEach(e => e.style.display = '');
        return fits ? [s.querySelector('h1, h2, h3').textContent] : [];
    })""")
    assert slack == []


def test_the_speakers_view_opens_with_its_notes(page: Page) -> None:
    lab = course.load().lab("04-conv-gemm")
    notes = next(cell.source for cell in notebook.read(lab).cells if cell.slide == "notes")
    opened(page, lab.lab)
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    view = popup.value
    view.wait_for_function("document.querySelector('.speaker-controls-notes .value')?.innerText.trim()")
    said = view.locator(".speaker-controls-notes .value").inner_text()
    first = re.sub(r"[*`$]", "", notes.strip().splitlines()[0])
    assert " ".join(first.split()) in " ".join(said.split())


@pytest.mark.parametrize("lab", LABS[:1])
def test_a_deck_prints_one_page_a_slide(page: Page, lab: str, tmp_path: Path) -> None:
    opened(page, lab, "?print-pdf")
    page.wait_for_selector(".pdf-page")
    total = page.locator(".pdf-page").count()
    assert total == page.evaluate("Reveal.getTotalSlides()")
    made = page.pdf(prefer_css_page_size=True, print_background=True)
    sizes = set(re.findall(rb"/MediaBox\s*\[([^\]]+)\]", made))
    assert made.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", made)) == total
    assert len(sizes) == 1
    width, height = (float(n) for n in sizes.pop().split()[2:])
    assert width / height == pytest.approx(1280 / 720, rel=0.01)


@pytest.mark.parametrize("name", ["04-tiny", *(lab.lab for lab in course.load().ready())])
def test_a_deck_opens_from_a_file(name: str, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No console message, no request but for the theme's files, no slide larger than the screen, formulas that are drawn, and paper."""
    with monkeypatch.context() as patch:
        if name == "04-tiny":
            patch.setattr(course, "ROOT", make(tmp_path / "tiny"))
            course.load.cache_clear()
        lab = course.load().lab(name)
        html = deck.render(lab, notebook.read(lab))
    course.load.cache_clear()
    (tmp_path / "theme").symlink_to(course.ROOT / "slides" / "theme")
    (tmp_path / "deck.html").write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    page.goto(f"file://{tmp_path}/deck.html")
    page.wait_for_function(READY)
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
    page.close()
    assert said == []
    assert all(address.startswith(("data:", f"file://{tmp_path}/")) for address in asked)
