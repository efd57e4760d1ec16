"""The page that a student gets back, and the class report, looked at in a real browser; and what goes with a page into the exchange."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tiny_class import NAME, Class

from hpml import theme
from hpml.grade import classroom, feedback
from hpml.grade.record import Late

DUE = datetime.datetime(2026, 3, 1, 11)


@pytest.fixture
def graded(room: Class, tmp_path_factory: pytest.TempPathFactory) -> Class:
    def make() -> None:
        room.submit("ada", room.solved(double="def double(x): return '" + 300 * "long" + "'  # wrong"), "2026-03-01 10:00:00 UTC")

    room.once(tmp_path_factory.getbasetemp() / "feedback", make)
    return room


@pytest.mark.parametrize(("late", "says"), [
    (Late(), ""), (Late(DUE), "Due 2026-03-01 11:00 UTC."),
    (Late(DUE, datetime.timedelta(days=2)), "Due 2026-03-01 11:00 UTC, with your extension of 2 days."),
    (Late(DUE, None, 5400, 1.0), "Due 2026-03-01 11:00 UTC; handed in 90 minutes late, 1 point taken off for that."),
    (Late(DUE, None, 90, 0.0), "Due 2026-03-01 11:00 UTC; handed in 2 minutes late, nothing is taken off for that.")])
def test_lateness_in_words(late: Late, says: str) -> None:
    assert feedback.lateness(late) == says


def test_a_page_waits_with_what_the_exchange_needs(graded: Class) -> None:
    place = graded.folder / "feedback" / "ada" / NAME
    assert (place / "submission_secret.txt").read_text() == "secret of ada at 2026-03-01 10:00:00 UTC"
    graded.submit("ada", graded.solved(), "2026-03-02 10:00:00 UTC")
    feedback.waiting(graded.folder, "ada", graded.lab, "Later, <b>please</b>.")
    assert (place / "timestamp.txt").read_text() == "2026-03-02 10:00:00 UTC"
    page = graded.page("ada")
    assert "Later, &lt;b&gt;please" in page and "of 11 points" not in page and "<table" not in page


def test_no_secret_of_an_earlier_submission_stays(graded: Class) -> None:
    (graded.folder / "submitted" / "ada" / NAME / "submission_secret.txt").unlink()
    assert graded.grade() == 0
    assert sorted(p.name for p in (graded.folder / "feedback" / "ada" / NAME).iterdir()) == [f"{NAME}.html"]


def test_a_secret_that_is_a_link_is_not_followed(graded: Class) -> None:
    secret = graded.folder / "submitted" / "ada" / NAME / "submission_secret.txt"
    secret.unlink()
    secret.symlink_to(graded.folder / "gradebook.db")
    assert not feedback.for_exchange(graded.folder, "ada", NAME)
    assert not (graded.folder / "feedback" / "ada" / NAME / "submission_secret.txt").exists()


def test_nothing_that_only_the_grader_knows_is_in_it(graded: Class) -> None:
    """Neither the seed, nor a size that only grading uses, nor a line of the trusted side."""
    page = graded.page("ada")
    trusted = [line.strip() for line in (graded.lab.folder / "exercises.py").read_text().splitlines() if len(line.strip()) > 20]
    assert len(trusted) > 10 and "48151623" in (graded.folder / "graded" / NAME / "ada" / "total.json").read_text()
    assert [part for part in ("48151623", "n=33", '"n": 33', *map(theme.escape, trusted)) if part in page] == []


def test_what_a_text_should_name_is_told_when_it_has_been_read(graded: Class) -> None:
    from hpml.grade import exports
    rubric = "<li>says why</li>"
    assert rubric not in graded.page("ada") and "A person reads this answer." in graded.page("ada")
    graded.submit("ada", graded.solved(why=""), "2026-03-01 10:00:01 UTC")              # nor is it told to those who write nothing
    assert graded.grade() == 0 and rubric not in graded.page("ada")
    with exports.opened(graded.folder, None) as book:
        found = book.book.find_grade("why", NAME, NAME, "ada")
        found.manual_score, found.needs_manual_grade = 0.5, False
        book.book.db.commit()
    assert graded.grade() == 0 and rubric in graded.page("ada")


# -------------------------------------------------------------------------------------------------------------- a browser


def colours(page: Page, selector: str) -> tuple[str, str]:
    """Text and background of an element, as #rrggbb."""
    found = page.locator(selector).first.evaluate("""e => { let under = e;
        while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement;
        return [getComputedStyle(e).color, getComputedStyle(under).backgroundColor]; }""")
    return tuple("#" + "".join(f"{int(n):02x}" for n in c[c.index("(") + 1:-1].split(",")[:3]) for c in found)  # type: ignore[return-value]


@pytest.mark.browser
def test_both_pages_read_well_everywhere(graded: Class, browser: Browser, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    assert classroom.main([NAME, "--course", str(graded.folder), "--html", str(report)]) == 0
    for path in (graded.folder / "feedback" / "ada" / NAME / f"{NAME}.html", report):
        for scheme, width in (("light", 1280), ("dark", 360)):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
            asked: list[str] = []
            wrong: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, wrong=wrong: wrong.append(message.text))
            page.goto(path.as_uri())
            assert asked == [path.as_uri()] and wrong == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path.name} is too wide for {width}"
            for selector in ("h1", ".kicker", "table.all th", ".where", "body"):
                text, under = colours(page, selector)
                assert theme.contrast(text, under) >= 4.5, (path.name, scheme, selector, text, under)
            assert (theme.contrast(colours(page, "body")[1], "#ffffff") < 2) == (scheme == "light")
            page.close()
