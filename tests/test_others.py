"""Advice with a noisy measurement: who is busy, without naming other users' programs."""

import os
import time

import psutil
import pytest

from hpml.referee import others
from hpml.referee.others import Others
from hpml.referee.rig import neighbours


def test_another_program_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "_ours", lambda: {os.getpid()})         # our own child stands for a stranger
    with neighbours(1) as (pid,):
        found = Others()
        while found.shares()[psutil.Process(pid)] <= 0:
            time.process_time()
    assert psutil.Process(os.getpid()) not in found.before


def test_the_referees_own_processes_are_not_others() -> None:
    with neighbours(1) as (pid,):
        assert psutil.Process(pid) not in Others().before


@pytest.mark.parametrize(("share", "uid", "says"), [
    (0.974, os.getuid(), f"pid {os.getpid()}) uses 97 % of a core: close it"),
    (1.5, os.getuid() + 1, "a program of another user uses 150 % of a core: check again later"),
    (0.1, os.getuid(), "Close other programs that compute")])
def test_the_advice(share: float, uid: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    found = Others()
    monkeypatch.setattr(found, "shares", lambda: {me: share})
    monkeypatch.setattr(psutil, "cpu_times", lambda: type("Times", (), {"steal": found.stolen})())
    monkeypatch.setattr(os, "getuid", lambda: me.uids().real - (uid != me.uids().real))
    assert says in found.advice() and found.busy() is (share > 0.2)


def test_a_host_that_takes_its_processors_away(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Others()
    monkeypatch.setattr(found, "shares", dict)
    monkeypatch.setattr(psutil, "cpu_times", lambda: type("Times", (), {"steal": found.stolen + 1e6})())
    assert "the host of this virtual machine takes" in found.advice()


def test_the_load_of_others_is_counted_from_one_question_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    found = Others()
    monkeypatch.setattr(found, "shares", lambda: {me: 1.5})
    assert found.load() == 0.0, "too early to tell"
    found.began -= 10
    assert found.load() == 1.5 and time.monotonic() - found.began < 5
