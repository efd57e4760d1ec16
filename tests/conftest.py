"""Fixtures that many files share, and what a marked test needs of the machine: where that is missing it is skipped and says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from hpml import course, machine
from hpml.doctor import find_browser
from hpml.referee import jail

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from tiny_class import Class

settings.register_profile("course", deadline=None)      # a busy machine fails no test
settings.load_profile("course")


def lacking(*tools: str) -> str | None:
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return f"not on this machine: {', '.join(missing)}" if missing else None


NEEDS: dict[str, Callable[[], str | None]] = {
    "gpu": lambda: lacking("nvidia-smi"),
    "slurm": lambda: lacking("slurmctld", "slurmd", "munged"),
    "chaos": lambda: lacking("bwrap"),
    "browser": lambda: None if find_browser() else "no browser on this machine: install chromium",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, reason in ((marker, need()) for marker, need in NEEDS.items()):
        if reason:
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=f"{marker}: {reason}"))


TINY = Path(__file__).parent / "tiny"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[course.Lab]:
    """A course of one small lab without a framework, in place of the real one; caches go to a temporary folder."""
    with use_course(TINY, tmp_path / "cache", monkeypatch):
        yield course.load().lab("01-tiny")


@contextmanager
def use_course(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point this process and those that it starts at another course."""
    monkeypatch.setenv("HPML_ROOT", str(root))
    cache.mkdir(parents=True, exist_ok=True)
    if machine.path().is_file():                    # the card of this machine is measured once, not in every test
        shutil.copy(machine.path(), cache)
    monkeypatch.setenv("HPML_CACHE", str(cache))
    monkeypatch.setenv("HPML_KEY", str(cache / "course.key"))
    monkeypatch.setattr(course, "ROOT", root)
    course.load.cache_clear()
    yield
    course.load.cache_clear()


@pytest.fixture
def room(tiny: course.Lab, tmp_path: Path) -> Class:
    """The course folder of a class that works on the tiny lab; nobody has handed in yet."""
    from tiny_class import Class
    return Class(tmp_path / "course", tiny)


@pytest.fixture(scope="session", autouse=True)
def machine_card() -> None:
    """Measured before the first test, so that no test measures it under load."""
    machine.card()


# nothing of the browser itself goes to the network
CHROMIUM = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --no-first-run".split()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless browser. One for each file, as while it lives no other event loop can run, and so no notebook."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=CHROMIUM)
        yield started
        started.close()


@pytest.fixture(scope="session", params=["bubblewrap", "none"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every test of the jail's contract runs on both backends."""
    if request.param == "bubblewrap" and (problem := jail.bubblewrap_problem()):
        pytest.skip(problem)
    return str(request.param)


@pytest.fixture(scope="session", params=["cold", "warm"])
def warm_parent(request: pytest.FixtureRequest, backend: str) -> Iterator[jail.WarmParent | None]:
    """… and both ways in: started afresh, and forked from a warm parent."""
    if request.param == "cold":
        yield None
        return
    parent = jail.WarmParent(backend, ("numpy",))
    yield parent
    parent.close()
