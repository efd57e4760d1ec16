"""The contract of a jail, on both backends where it holds for both."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from hpml.referee import jail, protocol
from hpml.referee.jail import Died, WarmParent
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.workers import Worker


@pytest.fixture
def worker(backend: str, warm_parent: WarmParent | None) -> Iterator[Worker]:
    with Worker(backend, cores=(max(os.sched_getaffinity(0)),), cpu_seconds=60, processes=True, parent=warm_parent) as worker:
        worker.wait_ready()
        yield worker


def load(worker: Worker, source: str, function: str = "f") -> dict:
    return worker.ask({"load": {"cells": [["cell", source]], "function": function}}, 20)


def call(worker: Worker, *values: object) -> dict:
    worker.ask({"prepare": {"calls": [[{"value": v} for v in values]]}}, 10)
    return worker.ask({"go": True}, 20)


def test_a_call_and_its_result_in_frozen_memory(worker: Worker) -> None:
    load(worker, "def f(x): return x * 2")
    worker.arena[:40] = np.arange(10, dtype=np.float32).view(np.uint8)
    worker.ask({"prepare": {"calls": [[{"offset": 0, "shape": [2, 5], "dtype": "<f4"}]]}}, 10)
    said = worker.ask({"go": True}, 10)["done"][0]
    worker.freeze()
    got = np.frombuffer(worker.read(said["address"], 40), np.float32).reshape(said["shape"])
    assert got.tolist() == (2 * np.arange(10).reshape(2, 5)).tolist()


def test_frozen_means_no_progress(worker: Worker) -> None:
    load(worker, "import threading\nn = 0\ndef spin():\n    global n\n    while True: n += 1\n"
                 "def f():\n    threading.Thread(target=spin, daemon=True).start()\n    return 1")
    call(worker)
    before = worker.cpu_ns()
    protocol.send(worker.sock, {"release": True})
    with pytest.raises(TimedOut):
        protocol.receive(worker.sock, 0.2)
    assert worker.cpu_ns() == before                    # nothing ran, nothing was answered
    assert worker.ask(None, 10)["released"]
    assert worker.cpu_ns() > before


def test_the_clock_sees_threads_that_ended_and_children_that_were_reaped(worker: Worker) -> None:
    load(worker, """
import os, threading, time
def burn():
    until = time.process_time() + 0.3
    while time.process_time() < until: pass
def f(how):
    if how == "thread":
        t = threading.Thread(target=burn); t.start(); t.join()
    elif os.fork() == 0:
        burn(); os._exit(0)
    else:
        os.wait()
    return 1.0
""")
    for how in ("thread", "child"):
        before = worker.cpu_ns()
        assert "done" in call(worker, how)
        assert worker.cpu_ns() - before > 250e6, how


def test_waiting_for_a_core_is_seen(worker: Worker) -> None:
    """Four threads on one core: the first waits while the others run; but nobody else has their core."""
    load(worker, """
import threading, time
import numpy as np
a = np.ones((300, 300))
def work():
    until = time.thread_time() + 0.1
    while time.thread_time() < until: a @ a
def f():
    helpers = [threading.Thread(target=work) for _ in range(3)]
    for t in helpers: t.start()
    work()
    for t in helpers: t.join()
    return 1.0
""")
    waited, ran = worker.waited_ns(), worker.cpu_ns()
    assert "done" in call(worker)
    took = worker.cpu_ns() - ran
    assert worker.waited_ns() - waited > 0.1 * took
    assert worker.lost_ns(waited, ran, took // worker.cores) == 0
    assert worker.lost_ns(waited, ran, 2 * took // worker.cores) > 0.1 * took       # as if others had had it for half of the time


def test_no_network_no_course_no_neighbours(worker: Worker) -> None:
    load(worker, """
import os, socket
def f():
    seen = [p for p in ("/work", "/home", "/root/.ssh", "/var", "/srv") if os.path.exists(p) and os.listdir(p)]
    try:
        socket.create_connection(("192.0.2.1", 80), 0.5)
        net = "connected"
    except OSError as e:
        net = type(e).__name__
    try:
        open("/usr/made-by-a-student", "w")
        wrote = 1
    except OSError:
        wrote = 0
    there = [p for p in os.listdir("/proc") if p.isdigit()]
    own = [p for p in there if os.stat(f"/proc/{p}").st_uid == os.getuid()]
    assert set(there) <= {"1", *own}            # the first process may be root's
    raise RuntimeError(f"{os.path.exists(COURSE)} {net} {wrote} {os.getuid()} {','.join(own)} "
                       f"{[m for m in ('hpml',) if __import__('importlib').util.find_spec(m)]}")
""".replace("COURSE", repr(str(jail.HERE.parent.parent / "labs"))))
    said = call(worker)["failed"]["message"].split(" ", 5)
    if worker.backend == "none":
        pytest.skip("without a jail there is nothing to keep from the worker")
    assert said[0] == "False" and said[1] != "connected" and said[2] == "0"
    assert said[3] == ("65534" if os.getuid() == 0 else str(os.getuid()))
    assert said[4] in ("1", "2")                # its own, and nobody else's
    assert said[5] == "[]"


def test_limits_hold(worker: Worker) -> None:
    load(worker, """
import os, tempfile
def f(what):
    if what == "memory":
        x = bytearray(8 << 30)
    elif what == "file":
        with tempfile.TemporaryFile() as out: out.write(bytes(100 << 20))
    elif what == "root":
        os.setuid(0); os.chroot("/")
    return 1.0
""")
    assert call(worker, "memory")["failed"]["type"] == "MemoryError"
    if worker.backend == "bubblewrap":
        assert call(worker, "root")["failed"]["type"] in ("PermissionError", "OSError")     # the latter in a user namespace
    try:
        assert call(worker, "file")["failed"]["type"] == "OSError"
    except Died as e:
        assert "SIGXFSZ" in str(e)


def test_private_folders_are_small(worker: Worker) -> None:
    if worker.backend == "none":
        pytest.skip("without a jail there are no private folders")
    load(worker, """
def f(where):
    n = 0
    try:
        for i in range(400):
            with open(f"{where}/{i}", "wb") as out: out.write(bytes(1 << 20))
            n += 1
    except OSError:
        pass
    return float(n)
""")
    for where in ("/tmp", "/dev/shm"):
        assert call(worker, where)["done"][0]["number"] <= 64


def test_no_fork_bomb(backend: str, warm_parent: WarmParent | None) -> None:
    if backend == "none":
        pytest.skip("the limit on processes needs a user of its own")
    with Worker(backend, processes=True, parent=warm_parent) as worker:
        worker.wait_ready()
        load(worker, "import os, time\ndef f():\n    n = 0\n    while n < 5000:\n        if os.fork() == 0:\n            time.sleep(60)\n"
                     "        n += 1\n    return 1.0")
        assert call(worker)["failed"]["type"] == "BlockingIOError"
        pids = worker.pids()
        assert 10 < len(pids) < 1000
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)          # killed as a whole


@pytest.mark.parametrize(("source", "says"), [
    ("import os\ndef f(): os._exit(3)", "exit status 3"),
    ("import ctypes\ndef f(): ctypes.string_at(0)", "SIGSEGV"),
    ("def f():\n    while True: print('x' * 1000)", "printed more than 8 MB"),
])
def test_a_worker_that_ends_says_how(worker: Worker, source: str, says: str) -> None:
    load(worker, source)
    with pytest.raises(Died, match=says):
        call(worker)


def test_what_is_printed_is_kept_shortened(worker: Worker) -> None:
    load(worker, "def f():\n    print('hello', flush=True)\n    print('y' * 100000)\n    return 1.0")
    call(worker)
    worker.close()
    assert worker.printed().startswith("hello\n") and "100007 bytes in all" in worker.printed()
    assert len(worker.printed()) < 20_000


def test_rubbish_on_the_channel_is_a_protocol_error(worker: Worker) -> None:
    load(worker, "import os\ndef f():\n    for fd in range(3, 1024):\n        try: os.write(fd, b'rubbish' * 100)\n"
                 "        except OSError: pass\n")
    with pytest.raises(ProtocolError):
        call(worker)


def test_the_arena_cannot_be_shrunk_under_the_referee(worker: Worker) -> None:
    load(worker, "import os\ndef f():\n    n = 0\n    for fd in range(3, 1024):\n        try: os.ftruncate(fd, 0); n += 1\n"
                 "        except OSError: pass\n    return float(n)")
    assert call(worker)["done"][0]["number"] == 0
    worker.arena[:] .sum()


def test_errors_are_data_with_their_line(worker: Worker) -> None:
    said = load(worker, "x = 1\ny = unknown + x\n")["failed"]
    assert (said["type"], said["line"], said["text"], said["name"]) == ("NameError", 2, "y = unknown + x", "unknown")
    assert load(worker, "g = 3")["failed"]["type"] == "Missing"


def test_reading_where_nothing_is(worker: Worker) -> None:
    with pytest.raises((OSError, OverflowError)):
        worker.read(8, 16)


def test_choice_of_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jail.choose("none") == "none"
    monkeypatch.setattr(jail, "bubblewrap_problem", lambda: "it is not installed")
    assert jail.choose("auto") == "none"
    with pytest.raises(Exception, match="insists on the bubblewrap jail, but it is not installed"):
        jail.choose("bubblewrap")


@pytest.mark.slow
def test_a_framework_is_warm_in_a_forked_worker() -> None:
    """TensorFlow imported once, run in three workers one after another, each jailed on its own."""
    backend = jail.choose("auto")
    parent = WarmParent(backend, ("tensorflow", "keras"))
    try:
        for n in (1, 2, 3):
            with Worker(backend, memory=None, parent=parent) as worker:
                worker.wait_ready(20)
                assert load(worker, f"import sys\nassert 'tensorflow' in sys.modules\nimport tensorflow as tf\n"
                                    f"def f(): return float(tf.reduce_sum(tf.ones({n})))")["loaded"]
                assert call(worker)["done"][0]["number"] == n
                assert len(worker.pids()) == 1
    finally:
        parent.close()
    assert not os.path.exists(f"/proc/{parent.pid}")


def test_workers_of_one_parent_do_not_see_each_other(backend: str) -> None:
    if backend == "none":
        pytest.skip("without a jail they do")
    parent = WarmParent(backend, ())
    look = ("import os\ndef f():\n    open('/tmp/mine', 'w').close()\n"
            "    return float(sum(p.isdigit() for p in os.listdir('/proc')) + 10 * os.listdir('/tmp').count('mine'))")
    with Worker(backend, parent=parent) as one, Worker(backend, parent=parent) as two:
        for worker in (one, two):
            worker.wait_ready()
            load(worker, look)
            assert call(worker)["done"][0]["number"] == 11          # one process, one file: its own
    parent.close()


def test_a_warm_parent_that_cannot_import_says_so(backend: str) -> None:
    with pytest.raises(Died, match="No module named 'nonsense'"):
        WarmParent(backend, ("nonsense",))


def test_a_hidden_library_can_be_neither_imported_nor_read(backend: str) -> None:
    if backend == "none":
        pytest.skip("only a jail can hide files; without one the mapped files tell")
    with Worker(backend, hidden=("keras", "no_such_library")) as worker:
        worker.wait_ready()
        said = load(worker, "import keras\ndef f(): return 0")["failed"]
        assert (said["type"], said["message"]) == ("ImportError", f"keras {jail.FORBIDDEN}")
        load(worker, "import glob, os, numpy\nplace = os.path.dirname(os.path.dirname(numpy.__file__)) + '/keras'\n"
                     "def f(): return float(len(glob.glob(place + '/**', recursive=True)))")
        assert call(worker)["done"][0]["number"] == 2               # the folder and the stub's one file


ENDS = """
import os, signal, sys
from hpml.referee.jail import WarmParent
from hpml.referee.workers import Worker
parent = WarmParent(sys.argv[1], ("numpy",)) if sys.argv[2] == "warm" else None
worker = Worker(sys.argv[1], parent=parent)
worker.wait_ready()
assert worker.frozen
print(*worker.pids(), *([parent.pid] if parent else []), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", ["cold", "warm"])
def test_nothing_is_left_of_a_referee_that_was_killed(backend: str, way: str) -> None:
    if backend == "none":
        pytest.skip("without a jail a worker that is frozen stays so")
    done = subprocess.run([sys.executable, "-c", ENDS, backend, way], capture_output=True, text=True)
    pids = done.stdout.split()
    assert done.returncode == -signal.SIGKILL and pids
    give_up = time.monotonic() + 30
    while left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]:
        assert time.monotonic() < give_up, f"{left} are still there"
        time.sleep(0.01)


def test_a_worker_that_the_kernel_does_not_list_at_once_is_found(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = WarmParent(backend, ("numpy",))
    real, asked = jail.children, [0]

    def children(pid: int) -> list[int]:
        asked[0] += 1
        return real(pid) if asked[0] > 3 else []

    try:
        monkeypatch.setattr(jail, "children", children)
        with Worker(backend, parent=parent) as worker:
            worker.wait_ready()
            assert worker.pid > 1 and asked[0] > 3
        monkeypatch.setattr(jail, "children", lambda pid: [])
        monkeypatch.setattr(jail, "FORK_SECONDS", 0.0)
        with pytest.raises(Died, match="ended before it began"):        # and is never taken for pid 0, which is whoever asks
            Worker(backend, parent=parent)
    finally:
        monkeypatch.undo()
        parent.close()
