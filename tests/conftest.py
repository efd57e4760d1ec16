"""What a marked test needs of the machine; where that is missing, the test is skipped and says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hpml import course, machine
from hpml.doctor import find_browser
from hpml.referee import jail


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


@pytest.fixture(scope="session", autouse=True)
def machine_card() -> None:
    """Measured before the first test, so that no test measures it under load."""
    machine.card()


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
