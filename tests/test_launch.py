"""The launcher: what a script finds, what the caller gets, and that nobody is left behind. Most scripts here need no framework."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from hpml import cli
from hpml.distributed import launch, warm
from hpml.distributed.ranks import LaunchError
from hpml.distributed.view import View

Write = Callable[[str], str]
FOREVER = "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
CHILD = "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=%s)\n"


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A parent without a framework, and a mark in the environment by which a process that was left behind is found."""
    monkeypatch.setenv("HPML_TEST_TAG", str(tmp_path))
    warm.cool()
    monkeypatch.setattr(warm, "FRAMEWORKS", ("threadpoolctl",))
    monkeypatch.setattr("hpml.distributed.launcher.KEPT_RUNS", 10**6)
    monkeypatch.setattr("hpml.distributed.ranks.TERM_SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    yield
    warm.cool()
    assert tagged(str(tmp_path)) == []


def tagged(tag: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("HPML_TEST_TAG") == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def script(text: str, name: str = "job/train.py") -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return name
    return script


@pytest.fixture(params=["warm", "fresh"])
def ways(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "warm")


def run(script: str, np: int = 2, args: tuple = (), **further: object) -> object:
    return launch(script, np, args, logs="logs", shown=False, timeout=60, **further)   # type: ignore[arg-type]


def test_a_script_runs_as_it_would_alone(write: Write, tmp_path: Path, ways: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_RANK", "7")             # of a world around this one
    write("NAME = 'neighbour'", "job/beside.py")
    script = write("""
import __main__, os, pickle, sys
import beside
from hpml.distributed import report
class Here: pass
rank = int(os.environ["HOROVOD_RANK"])
print("out", rank); print("err", rank, file=sys.stderr)
report(argv=sys.argv, cwd=os.getcwd(), name=__name__, file=__file__, beside=beside.NAME, main=__main__.rank, rank=rank,
       pickled=type(pickle.loads(pickle.dumps(Here()))) is Here, stdin=sys.stdin.read())
""")
    result = run(script, args=("--x", 3), warm_ranks=ways)
    assert result.values == {"argv": [script, "--x", "3"], "cwd": str(tmp_path), "name": "__main__", "file": str(tmp_path / script),
                             "beside": "neighbour", "main": 0, "rank": 0, "pickled": True, "stdin": ""}
    assert [v["rank"] for v in result.ranks] == [0, 1]
    assert result.returncodes == [0, 0]
    assert [log.name for log in result.logs] == ["rank-0.log", "rank-1.log"]
    assert [sorted(log.read_text().splitlines()) for log in result.logs] == [["err 0", "out 0"], ["err 1", "out 1"]]


def test_values_of_the_lowest_rank_count(write: Write, ways: bool) -> None:
    script = write("import os\nimport numpy as np\nfrom hpml.distributed import report\nr = int(os.environ['HPML_RANK'])\n"
                   "report(rank=r, **{f'of_{r}': np.arange(r + 1), 'mean': np.float32(0.5)})\nreport(rank=r + 10)")
    assert run(script, warm_ranks=ways).values == {"rank": 10, "of_0": [0], "of_1": [0, 1], "mean": 0.5}


def test_without_a_launcher_a_report_is_printed(write: Write) -> None:
    script = write("from hpml.distributed import progress, report\nprogress(1, 2, loss=0.1)\nreport(a=1)")
    alone = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert json.loads(alone.stdout) == {"a": 1}


def test_a_program_started_by_a_rank_does_not_write_into_its_channel(write: Write, ways: bool) -> None:
    """It inherits the variable, not the channel: the number may be any file of its own."""
    inner = ("import os\\nfd = int(os.environ['HPML_REPORT_FD'].split(':')[0])\\nmine = os.open('mine', os.O_RDWR | os.O_CREAT)\\n"
             "mine == fd or os.dup2(mine, fd)\\nfrom hpml.distributed import report\\nreport(stolen=1)\\n"
             "assert not os.path.getsize('mine')")
    script = write(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', '''{inner}'''], check=True)")
    assert run(script, 1, warm_ranks=ways).values == {}


def test_every_rank_has_its_share_of_the_cores(write: Write, ways: bool) -> None:
    script = write("import os\nfrom hpml.distributed import report\n"
                   "report(cores=sorted(os.sched_getaffinity(0)), threads=os.environ['OMP_NUM_THREADS'])")
    ours = sorted(os.sched_getaffinity(0))
    assert run(script, 1, warm_ranks=ways).values == {"cores": ours, "threads": str(len(ours))}
    each = run(script, len(ours) + 1, warm_ranks=ways).ranks
    assert [v["cores"] for v in each] == [[c] for c in [*ours, ours[0]]]
    assert {v["threads"] for v in each} == {"1"}
    assert run(script, 2, warm_ranks=ways, pin=False, threads=3).values == {"cores": ours, "threads": "3"}


def test_every_rank_has_its_gpu(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    script = write("import os\nfrom hpml.distributed import report\nreport(gpu=os.environ['CUDA_VISIBLE_DEVICES'])")
    assert [v["gpu"] for v in run(script, 3).ranks] == ["4", "GPU-abc", "4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    driver = Path(write("#!/bin/sh\nprintf '0\\n1\\n'\n", "bin/nvidia-smi"))
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{driver.parent.resolve()}:{os.environ['PATH']}")
    warm._all_gpus.cache_clear()
    assert [v["gpu"] for v in run(script, 3).ranks] == ["0", "1", "0"]
    warm._all_gpus.cache_clear()


@pytest.mark.parametrize(("text", "reason"), [
    ("raise ValueError('no good')", r"exit status 1\).*Traceback.*train.py\", line 7.*ValueError: no good"),
    ("sys.exit(3)", r"exit status 3\)"),
    ("sys.exit('not today')", r"exit status 1\).*not today"),
    ("os.kill(os.getpid(), 9)", r"killed by SIGKILL: perhaps memory has run out\)"),
    ("os._exit(5)", r"exit status 5\)"),
])
def test_a_rank_that_fails_ends_the_others(write: Write, ways: bool, text: str, reason: str) -> None:
    for rank in (0, 2):
        os.mkfifo(f"ready-{rank}")                      # rank 1 fails once the others ignore SIGTERM
    script = write("import os, signal, sys\nrank = int(os.environ['HPML_RANK'])\nif rank != 1:\n"
                   "    signal.signal(15, signal.SIG_IGN); open(f'ready-{rank}', 'w').close()\n    while True: signal.pause()\n"
                   f"print('before', open('ready-0').read(), open('ready-2').read())\n{text}\n")
    with pytest.raises(LaunchError, match=f"(?s)rank 1 failed .{reason}") as caught:
        run(script, 3, warm_ranks=ways, grace=0.1)
    assert "rank-1.log" in str(caught.value) and "before" in str(caught.value) and "distributed/child" not in str(caught.value)
    assert caught.value.outcome.returncodes[0] == caught.value.outcome.returncodes[2] == -signal.SIGKILL
    warm.cool()
    assert tagged(os.environ["HPML_TEST_TAG"]) == []


def test_a_syntax_error_is_shown_as_python_shows_it(write: Write, ways: bool) -> None:
    with pytest.raises(LaunchError, match=r"(?s)train.py\", line 2.*SyntaxError") as caught:
        run(write("x = 1\ny = = 2\n"), 1, warm_ranks=ways)
    assert "Traceback" not in str(caught.value)


def test_time_out_also_for_what_ranks_started(write: Write, ways: bool) -> None:
    script = write("import subprocess, sys\n" + CHILD % True + FOREVER)
    with pytest.raises(LaunchError, match=r"stopped after 2 s \(the time-out\)") as caught:
        launch(script, 2, logs="logs", shown=False, timeout=2, warm_ranks=ways)
    assert set(caught.value.outcome.returncodes) <= {-signal.SIGKILL, -signal.SIGTERM}      # or it was not yet that far
    warm.cool()
    assert tagged(os.environ["HPML_TEST_TAG"]) == []


def test_what_a_rank_leaves_behind_ends_with_it(write: Write, ways: bool) -> None:
    assert run(write("import subprocess, sys\n" + CHILD % True + CHILD % False), warm_ranks=ways).returncodes == [0, 0]
    warm.cool()
    assert tagged(os.environ["HPML_TEST_TAG"]) == []


def start(script: str, *options: str) -> subprocess.Popen[str]:
    """`hpml launch` with both ranks ready."""
    process = subprocess.Popen([sys.executable, "-m", "hpml.cli", "launch", *options, script], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert sorted(process.stdout.readline().strip() for _ in range(2)) == ["[0] ready", "[1] ready"]
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ranks_end_with_the_launcher(write: Write, number: signal.Signals) -> None:
    process = start(write(FOREVER))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 3                             # the parent of the ranks, and two ranks
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert number != signal.SIGINT or ("interrupted" in err and "Traceback" not in err)
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_a_rank_that_is_killed_from_outside(write: Write) -> None:
    process = start(write(FOREVER), "--logs", "here")
    victim = next(p for p in psutil.Process(process.pid).children(recursive=True) if p.environ().get("HPML_RANK") == "1")
    victim.kill()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "hpml launch: rank 1 failed (killed by SIGKILL" in err and "Traceback" not in err
    assert Path("here/rank-0.log").read_text() == "ready\n"


@pytest.mark.parametrize(("given", "reason"), [
    (["nix.py"], "there is no script nix.py in"), (["."], "is a folder"), (["-np", "0", "train.py"], "needs at least one rank"),
    (["-np", "100000", "train.py"], "would mostly wait for each other"), (["--timeout", "-1", "train.py"], "a number of seconds above 0"),
    (["--logs", "train.py/x", "train.py"], "no folder for the logs"), (["--gpus", "1", "train.py"], "--gpus only with --slurm"),
])
def test_bad_input_gets_one_sentence(write: Write, given: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("print()", "./train.py")
    assert cli.main(["launch", *given]) == 1
    said = capsys.readouterr()
    assert reason in said.err and said.err.count("\n") == 1 and said.out == ""


def test_the_result_as_json(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("import sys\nfrom hpml.distributed import progress, report\nprint('hello')\nprogress(3, 4, loss=0.25)\n"
                   "report(args=sys.argv[1:])")
    assert cli.main(["launch", "-np", "2", "--json", script, "--json", "-np", "7"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["values"] == {"args": ["--json", "-np", "7"]} and result["returncodes"] == [0, 0]
    assert result["seconds"] >= result["first_output"] > 0
    assert "[0] hello" in said.err and "[1] hello" in said.err and "3/4" in said.err and "loss 0.25" in said.err


def test_output_is_taken_in_any_amount_and_form(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("import sys\nsys.stdout.buffer.write(b'x' * 3_000_000 + b'\\n')\nsys.stdout.buffer.write(b'1/2\\r2/2\\b\\n\\xff\\nend')")
    result = launch(script, 1, logs="logs")
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if len(line) < 20] == ["[0] 2/2", "[0] \ufffd", "[0] end"]
    assert result.logs[0].stat().st_size == 3_000_000 + 1 + 9 + 2 + 3


def test_old_runs_are_cleared_from_the_cache(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HPML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hpml.distributed.launcher.KEPT_RUNS", 3)
    script = write("pass")
    folders = [launch(script, 1, shown=False).logs[0].parent for _ in range(5)]
    assert [f.is_dir() for f in folders] == [False, False, True, True, True]


def test_the_view() -> None:
    out = io.StringIO()
    with View(2, Console(file=out, width=120)) as view:
        view.line(1, "[bold]as it is[/bold] :smile:")
        view.progress(1, [1, 10, {}])
        view.progress(0, [2, 10, {"loss": "0.5"}])
        view.progress(1, [9, 10, {}])                   # the lowest rank that tells is the one that is shown
        for n in range(5000):
            view.line(0, f"line {n}")
    text = out.getvalue()
    assert "[1] [bold]as it is[/bold] :smile:" in text
    assert "2/10" in text and "loss 0.5" in text and "9/10" not in text
    assert "line 1998" in text and "line 2000" not in text and text.count("too much to show") == 1


def test_in_a_notebook(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live output, warm ranks that stay warm, an interrupted cell, a failing rank, and a kernel that is killed."""
    from jupyter_client.manager import start_new_kernel
    write(FOREVER, "forever.py")
    write("raise ValueError('no good')", "fails.py")
    script = write("import os\nimport horovod.tensorflow as hvd\nfrom hpml.distributed import progress, report\nhvd.init()\n"
                   "print('hello')\nprogress(1, 2, loss=0.5)\nreport(parent=os.getppid(), ranks=hvd.size())")
    manager, client = start_new_kernel(kernel_name="python3")

    def cell(source: str, until: str | None = None) -> tuple[str, list[dict], dict]:
        """The text, the displays and the reply of a cell; it is interrupted once its text contains `until`."""
        text, displays = "", []
        number = client.execute(source, allow_stdin=False)
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != number:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                text += content["text"]
                if until and all(part in text for part in until.split("|")):
                    manager.interrupt_kernel()
                    until = None
            elif kind in ("display_data", "update_display_data"):
                displays.append(content["data"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != number:
            pass                                        # late answers to "are you there?" from the start
        return text, displays, reply["content"]

    try:
        for source in ("from hpml.distributed import launch", f"result = launch({script!r}, np=2)\nresult.values"):
            text, displays, reply = cell(source)
            assert reply["status"] == "ok", reply
        assert text.splitlines() == ["[0] hello", "[1] hello"] or text.splitlines() == ["[1] hello", "[0] hello"]
        assert "<progress" in displays[-1]["text/html"] and "1/2" in displays[-1]["text/plain"] and "loss 0.5" in displays[-1]["text/plain"]
        text, _, reply = cell("launch('forever.py', np=2, timeout=60)", until="[0] ready|[1] ready")
        assert reply["ename"] == "KeyboardInterrupt"
        text, _, reply = cell("launch('fails.py', np=1)")
        assert reply["status"] == "error" and "rank 0 failed (exit status 1)" in reply["evalue"]
        assert "no good" in "".join(reply["traceback"]) and "launcher.py" not in "".join(reply["traceback"])
        text, _, reply = cell(f"print('\\n', result.values, launch({script!r}, np=3).values)")
        assert reply["status"] == "ok"
        first, second = [eval(part + "}") for part in text.splitlines()[-1].strip().split("}")[:2]]
        assert first["parent"] == second["parent"] and (first["ranks"], second["ranks"]) == (2, 3)
        parent = psutil.Process(first["parent"])
        assert parent.children() == []
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        assert psutil.wait_procs([parent], timeout=20)[1] == []
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
