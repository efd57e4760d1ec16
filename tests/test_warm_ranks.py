"""Ranks forked from a warm parent. Those that need no framework use a parent without one."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from hpml.distributed import run_ranks, warm
from hpml.distributed.ranks import LaunchError

FACTOR = 3.0


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A parent with NumPy only."""
    warm.cool()
    monkeypatch.setattr(warm, "FRAMEWORKS", ("numpy", "threadpoolctl"))
    yield
    warm.cool()


def helper(rank: int) -> float:
    return FACTOR * (rank + 1)


def reduced(start: float) -> dict:
    import horovod.tensorflow as hvd
    import tensorflow as tf
    hvd.init()
    value = hvd.allreduce(tf.fill([3], start + helper(hvd.rank())), op=hvd.Sum)
    return {"rank": hvd.rank(), "value": value, "threads": tf.config.threading.get_intra_op_parallelism_threads()}


def test_a_world_of_two_and_its_values() -> None:
    answers = run_ranks(reduced, 2, [1.0])              # a function of this file, with the names that it uses
    assert [a["rank"] for a in answers] == [0, 1]
    for answer in answers:
        assert type(answer["value"]) is np.ndarray and answer["value"].dtype == np.float32
        np.testing.assert_array_equal(answer["value"], [11.0] * 3)
    again = run_ranks(reduced, 2, [2.0])                # the parent has run nothing, so it serves any number of worlds
    np.testing.assert_array_equal(again[1]["value"], [13.0] * 3)


def leaves(rank_that_fails: int, killed: bool) -> None:
    import horovod.tensorflow as hvd
    import tensorflow as tf
    hvd.init()
    hvd.allreduce(tf.ones(3))
    if hvd.rank() == rank_that_fails:
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ArithmeticError("the cause")
    while True:
        hvd.allreduce(tf.ones(3))


@pytest.mark.parametrize(("killed", "reason"), [(False, "exit status 1.*ArithmeticError: the cause"), (True, "killed by SIGKILL")])
def test_the_guilty_rank_is_named_not_the_one_that_misses_it(killed: bool, reason: str) -> None:
    for guilty in (0, 1):
        with pytest.raises(LaunchError, match=f"(?s)rank {guilty} failed .{reason}") as caught:
            run_ranks(leaves, 2, [guilty, killed])
        assert caught.value.outcome.returncodes[guilty] == (-signal.SIGKILL if killed else 1)
        assert None not in caught.value.outcome.returncodes


def test_a_parent_serves_many_runs(light: None) -> None:
    def who() -> tuple:
        return os.getppid(), os.getpid(), os.environ["HPML_RANK"], os.environ["HPML_RANKS"]
    first, second = run_ranks(who, 2), run_ranks(who, 3)
    assert {p for p, *_ in first + second} == {warm.warm().process.pid}
    assert len({pid for _, pid, *_ in first + second}) == 5
    assert [r[2:] for r in second] == [("0", "3"), ("1", "3"), ("2", "3")]


def test_what_a_fork_must_not_share(light: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> tuple:
        import tempfile
        return random.random(), np.random.rand(), tempfile.gettempdir()
    warm.warm(wait=True)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    answers = run_ranks(drawn, 3)
    assert len({a for a, _, _ in answers}) == len({b for _, b, _ in answers}) == 3
    assert {folder for *_, folder in answers} == {str(tmp_path)}


def test_threads_are_limited_even_in_libraries_that_are_loaded(light: None) -> None:
    def threads() -> set:
        from threadpoolctl import threadpool_info
        return {pool["num_threads"] for pool in threadpool_info()} | {int(os.environ["OMP_NUM_THREADS"])}
    cores = len(os.sched_getaffinity(0))
    assert run_ranks(threads, cores) == [{1}] * cores


def test_source_text_with_arguments(light: None) -> None:
    assert run_ranks("def main(a, b):\n    import os\n    return a * b, os.environ['GIVEN']", 1, [6, 7], env={"GIVEN": "x"}) == [(42, "x")]


def test_large_values_travel(light: None) -> None:
    values = np.arange(3_000_000, dtype=np.float64)
    np.testing.assert_array_equal(run_ranks(lambda a: a[::-1], 1, [values])[0], values[::-1])


@pytest.mark.parametrize(("source", "reason"), [
    ("def main(): raise ValueError('broken')", r"(?s)rank 0 failed \(exit status 1\).*ValueError: broken"),
    ("def main(): import os; os.kill(os.getpid(), 9)", r"rank 0 failed \(killed by SIGKILL: perhaps memory has run out\)"),
    ("def main(): import os; os.abort()", r"rank 0 failed \(killed by SIGABRT\)"),
    ("def main(): raise SystemExit('enough')", r"(?s)rank 0 failed \(exit status 1\).*enough"),
    ("def main(): return lambda: 0", r"(?s)rank 0 failed .*[Pp]ickle"),
    ("def other(): pass", r"(?s)rank 0 failed .*KeyError: 'main'"),
])
def test_a_rank_that_fails(light: None, source: str, reason: str) -> None:
    with pytest.raises(LaunchError, match=reason) as caught:
        run_ranks(source, 1)
    assert "distributed/child.py" not in str(caught.value)      # the frames that lead into the function are not its author's


def test_a_setting_that_frameworks_read_at_import_asks_for_a_new_parent(light: None, monkeypatch: pytest.MonkeyPatch) -> None:
    one = warm.warm()
    monkeypatch.setenv("HPML_ANYTHING", "1")
    assert warm.warm() is one
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    assert warm.warm() is not one
    assert one.process.returncode is not None
    assert run_ranks("def main(): import os; return os.environ['KERAS_BACKEND']", 1) == ["numpy"]


def test_a_parent_that_was_killed_is_replaced(light: None) -> None:
    parent = warm.warm(wait=True)
    with pytest.raises(LaunchError, match="was killed, and they with it"):
        run_ranks("def main():\n    import os, signal\n    os.kill(os.getppid(), 9)\n    signal.pause()", 1)
    assert parent.process.wait(10) == -signal.SIGKILL
    assert run_ranks("def main(): return 1", 1) == [1]


def test_a_parent_that_cannot_import(light: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "FRAMEWORKS", ("no_such_module",))
    with pytest.raises(LaunchError, match="could not start: ModuleNotFoundError: No module named 'no_such_module'. See: hpml doctor"):
        run_ranks("def main(): return 1", 1)
    with pytest.raises(LaunchError, match="could not start"):
        warm.warm(wait=True)


def test_a_forked_copy_of_the_client_starts_its_own_parent(light: None) -> None:
    parent = warm.warm()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if warm.warm().process.pid != parent.process.pid and run_ranks("def main(): return 1", 1) == [1] else 2
            warm.cool()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert run_ranks("def main(): return 1", 1) == [1]


def test_an_idle_parent_goes() -> None:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = "from hpml.distributed import parent; parent.IDLE_SECONDS = 0.01; parent.main()"
    with mine, theirs:
        assert subprocess.run([sys.executable, "-c", code, str(theirs.fileno())], pass_fds=[theirs.fileno()], timeout=60).returncode == 0
        assert b"ready" in mine.recv(100)


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_ranks_and_parent_go_with_their_client(end: str) -> None:
    """The rank ignores every polite signal, and has a child in a session of its own."""
    stubborn = ("def main():\n import os, signal, subprocess, sys\n signal.signal(15, signal.SIG_IGN)\n"
                " child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True)\n"
                " print(os.getpid(), os.getppid(), child.pid, file=open(os.environ['TELL'], 'w'), flush=True)\n signal.pause()")
    read, write = os.pipe()
    client = ("import os, sys, threading\nfrom hpml.distributed import warm\nwarm.FRAMEWORKS = ()\n"
              f"threading.Thread(target=warm.run_ranks, args=({stubborn!r}, 1), kwargs=dict(timeout=None), daemon=True).start()\n"
              "sys.stdin.read()\n")
    process = subprocess.Popen([sys.executable, "-c", client], stdin=subprocess.PIPE, pass_fds=[write],
                               env=os.environ | {"TELL": f"/proc/{os.getpid()}/fd/{write}"})
    with os.fdopen(read) as told:
        pids = [int(p) for p in told.readline().split()]
    os.close(write)
    family = [psutil.Process(p) for p in pids]
    assert process.stdin
    if end == "kill":
        process.kill()
    process.stdin.close()
    process.wait(20)
    assert psutil.wait_procs(family, timeout=20)[1] == []
