"""`hpml launch --slurm` on a real Slurm: two nodes, both on this machine, with daemons of their own in a temporary folder."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm_here import cluster  # noqa: F401

from hpml import cli
from hpml.distributed import slurm
from hpml.distributed.ranks import LaunchError

SCRIPT = """
import os, sys
import numpy as np
import horovod.tensorflow as hvd
from hpml.distributed import progress, report
hvd.init()
print("rank", hvd.rank(), "on", os.environ["SLURMD_NODENAME"], *sys.argv[1:])
progress(1, 1)
total = hvd.allreduce(np.full(2, hvd.rank() + 1, np.float32), op=hvd.Sum)
report(total=total, cross=hvd.cross_size(), local=hvd.local_size(), cwd=os.getcwd())
report(**{f"node_{hvd.rank()}": os.environ["SLURMD_NODENAME"]})
"""
READY = "import os, signal\nprint('ready', flush=True)\nrank = os.environ['HPML_RANK']\n"


@pytest.fixture
def write(cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:  # noqa: F811
    monkeypatch.chdir(tmp_path)

    def script(text: str) -> str:
        (tmp_path / "train.py").write_text(text)
        return "train.py"
    return script


def jobs() -> str:
    return subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slurm
def test_two_nodes_reduce(write: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["launch", "--slurm", "-np", "2", "--nodes", "2", "--partition", "lab", "--time", "5", "--logs", "logs", "--json"]
    assert cli.main([*given, write(SCRIPT), "--x", "a b"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["values"] == {"total": [3.0, 3.0], "cross": 2, "local": 1, "cwd": str(tmp_path), "node_0": "node1", "node_1": "node2"}
    assert result["returncodes"] == [0, 0]
    for rank, log in enumerate(result["logs"]):
        assert f"rank {rank} on node{rank + 1} --x a b" in Path(log).read_text()
        assert f"[{rank}] rank {rank} on node{rank + 1} --x a b" in said.err
    assert "1/1" in said.err
    assert jobs() == ""


@pytest.mark.slurm
@pytest.mark.slow
def test_ranks_that_share_nodes(write: Callable[[str], str]) -> None:
    result = slurm.launch_slurm(write(SCRIPT), 3, nodes=2)
    assert result.values["total"] == [6.0, 6.0] and result.values["cross"] == 2 and result.values["local"] == 2
    assert [result.values[f"node_{r}"] for r in range(3)] == ["node1", "node1", "node2"]


@pytest.mark.slurm
def test_a_rank_that_fails_ends_the_job(write: Callable[[str], str]) -> None:
    script = write(READY + "if rank == '1': raise ValueError('no good')\nsignal.pause()\n")
    with pytest.raises(LaunchError, match=r"(?s)rank 1 failed \(exit status 1\).*ValueError: no good") as caught:
        slurm.launch_slurm(script, 2, nodes=2, logs="logs")
    assert caught.value.outcome.returncodes[1] == 1
    assert jobs() == ""


@pytest.mark.slurm
def test_time_out_cancels(write: Callable[[str], str]) -> None:
    with pytest.raises(LaunchError, match=r"stopped after 1 s \(the time-out\)"):
        slurm.launch_slurm(write(READY + "signal.pause()\n"), 2, timeout=1, logs="logs")
    assert jobs() == ""


@pytest.mark.slurm
def test_a_job_that_is_cancelled_from_elsewhere(write: Callable[[str], str]) -> None:
    script = write(READY + "import subprocess\nrank == '0' and subprocess.run(['scancel', os.environ['SLURM_JOB_ID']])\nsignal.pause()\n")
    with pytest.raises(LaunchError, match=r"cancelled|killed by SIGTERM"):
        slurm.launch_slurm(script, 2, logs="logs")
    assert jobs() == ""


@pytest.mark.slurm
@pytest.mark.parametrize(("number", "nodes", "seen"), [
    (signal.SIGINT, 2, {"[0] ready", "[1] ready"}), (signal.SIGTERM, 2, {"[0] ready", "[1] ready"}),
    (signal.SIGINT, 3, {"pending ("}),                 # the cluster has two nodes: it waits for ever
])
def test_ctrl_c_cancels(write: Callable[[str], str], number: signal.Signals, nodes: int, seen: set[str]) -> None:
    command = [sys.executable, "-m", "hpml.cli", "launch", "--slurm", "-np", str(nodes), "--nodes", str(nodes), "--logs", "logs"]
    process = subprocess.Popen([*command, write(READY + "signal.pause()\n")], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    while seen:
        line = process.stdout.readline()
        assert line, process.communicate()
        seen = {text for text in seen if text not in line}
    assert jobs() != ""
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert jobs() == ""


@pytest.mark.slurm
@pytest.mark.parametrize(("option", "value", "reason"), [
    ("partition", "nix", "Invalid partition"), ("time_limit", "soon", "[Ii]nvalid"), ("gpus", 1, "[Ii]nvalid|not available"),
])
def test_what_slurm_refuses(write: Callable[[str], str], option: str, value: object, reason: str) -> None:
    with pytest.raises(LaunchError, match=f"Slurm's sbatch refused: .*({reason})"):
        slurm.launch_slurm(write("pass"), 1, **{option: value})    # type: ignore[arg-type]
    assert jobs() == ""


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    Path("train.py").write_text("pass")
    assert cli.main(["launch", "--slurm", "train.py"]) == 1
    assert "there is no Slurm here (sbatch not found); without --slurm" in capsys.readouterr().err


def test_tasks_on_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "ask", lambda *command: "a\nb\nc\nd")
    assert slurm.hosts("[a-d]", "2(x3),1") == [("a", 2), ("b", 2), ("c", 2), ("d", 1)]
    assert slurm.hosts("[a-d]", "1,2(x2),3") == [("a", 1), ("b", 2), ("c", 2), ("d", 3)]


def test_the_way_to_an_address() -> None:
    assert slurm.source_address("127.0.0.1") == "127.0.0.1"
    assert slurm.interface_of("127.0.0.1") == "lo"
    assert slurm.interface_of("192.0.2.1") == ""
