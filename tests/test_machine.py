"""The machine card: what is asked of the system, what is kept, when it is measured again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hpml import machine, probe

PROBED = {"blas": "OpenBLAS 0.3", "gemm": 150.0, "n": 2048, "copy": 15.0, "add": 14.0, "python": 40.0, "numpy": 400.0, "share": 0.99}


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A machine of two cores whose measurements are made up; the list grows by the threads of each measurement."""
    calls: list[int] = []

    def fake(threads: int, array_bytes: int) -> dict[str, Any]:
        calls.append(threads)
        return {**PROBED, "gemm": 150.0 * threads}

    monkeypatch.setattr(machine, "_probe", fake)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    monkeypatch.setattr(machine, "cpu", lambda: "Made-up 9000")
    monkeypatch.setattr(machine, "gpus", lambda: ())
    monkeypatch.setenv("HPML_CACHE", str(tmp_path / "cache"))
    for name in machine.TUNING:
        monkeypatch.delenv(name, raising=False)
    return calls


def test_roofline_methods(probes: list[int]) -> None:
    card = machine.card()
    assert card.ridge() == pytest.approx(150 / 15)
    assert card.attainable(2) == pytest.approx(30) and card.attainable(10) == pytest.approx(150) and card.attainable(1e6) == 150
    assert card.attainable(1e6, threads=2) == 300 and card.gemm_gflops(2) == 300 and card.bandwidth_gbs() == 15
    with pytest.raises(ValueError, match="positive"):
        card.attainable(0)


def test_measured_once_then_read(probes: list[int], tmp_path: Path) -> None:
    first = machine.card()
    assert probes == [1, 2] and (tmp_path / "cache" / "machine.json").is_file()
    assert machine.card() == first == machine() and probes == [1, 2]


def test_refresh_measures_again(probes: list[int]) -> None:
    machine.card()
    machine.card(refresh=True)
    assert probes == [1, 2, 1, 2]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"cpu": "x"}', b"\xff\xfe"])
def test_unreadable_file_is_measured_again(probes: list[int], damage: bytes) -> None:
    machine.card()
    machine.path().write_bytes(damage)
    assert machine.card().cpu == "Made-up 9000" and probes == [1, 2, 1, 2]
    assert machine.card() and len(probes) == 4                    # and the file is whole again


@pytest.mark.parametrize(("name", "value"), [("cpu", lambda: "Other"), ("cores", lambda: 3), ("memory", lambda: 1 << 33)])
def test_another_machine_is_measured_again(probes: list[int], monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    machine.card()
    monkeypatch.setattr(machine, name, value)
    machine.card()
    assert len(probes) == 4


def test_a_tuned_library_has_a_card_of_its_own(probes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    machine.card()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "../Haswell")
    assert machine.path().name == "machine-Haswell.json"
    machine.card()
    assert len(probes) == 4


def test_a_folder_that_cannot_be_written_is_said(probes: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPML_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="HPML_CACHE"):
        assert machine.card().cores == 2


def test_one_core_is_measured_once(probes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)
    card = machine.card()
    assert probes == [1] and card.gemm_all == card.gemm_one


def test_a_busy_machine_is_measured_twice_and_says_so(probes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{**PROBED, "share": 0.4, "gemm": 70.0, "python": 90.0}, {**PROBED, "share": 0.5}])
    monkeypatch.setattr(machine, "_probe", lambda threads, nbytes: next(answers))
    monkeypatch.setattr(machine, "cores", lambda: 1)
    card = machine.card()
    assert (card.gemm_one, card.python_call_ns, card.quiet) == (150.0, 40.0, False)
    assert "--refresh" in str(card)


def test_gpu_class(probes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.card().machine_class == "cpu"
    monkeypatch.setattr(machine, "gpus", lambda: ("NVIDIA H200, 143771 MiB",))
    card = machine.card(refresh=True)
    assert card.machine_class == "gpu" and "H200" in str(card)


def test_a_measured_link_is_on_the_card_whenever_it_was_measured(probes: list[int], tmp_path: Path) -> None:
    assert machine.card().link is None and "two ranks" not in str(machine.card())
    pieces = [{"upto": 4096, "alpha": 3e-6, "beta": 1e-9}, {"upto": None, "alpha": 9e-6, "beta": 2e-10}]
    (tmp_path / "cache" / "links2.json").write_text(json.dumps(pieces))
    assert machine.card().link == (3e-6, 2e-10)
    assert "α 3 µs a message, then 5.00 GB/s" in str(machine.card())
    assert probes == [1, 2]                                 # nothing was measured again for it


def test_text_fits_a_terminal_and_html_is_escaped(probes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu", lambda: "<script>Zen</script>")
    card = machine.card()
    assert all(len(line) <= 100 for line in str(card).splitlines()) and "10.0 FLOP/byte" in str(card)
    shown = card._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;Zen" in shown and "300 GFLOP/s" in shown


def test_command_line(probes: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.main([]) == 0 and "Made-up 9000, 2 cores" in capsys.readouterr().out
    assert machine.main(["--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["machine_class"] == "cpu" and answer["gemm_all"] == 300
    assert machine.main(["--nonsense"]) == 2 and "--nonsense" in capsys.readouterr().err

    def broken(threads: int, array_bytes: int) -> dict[str, Any]:
        raise machine.MachineError("no room")
    monkeypatch.setattr(machine, "_probe", broken)
    assert machine.main(["--refresh"]) == 1 and capsys.readouterr().err == "no room\n"


def test_a_failing_measurement_names_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*args: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        assert options["env"]["OPENBLAS_NUM_THREADS"] == "3"
        return subprocess.CompletedProcess(args, 1, "", "Traceback\nMemoryError: too little")
    monkeypatch.setattr(subprocess, "run", failed)
    with pytest.raises(machine.MachineError, match="MemoryError: too little"):
        machine._probe(3, 1 << 20)


def test_container_limits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"/sys/fs/cgroup/cpu.max": "150000 100000", "/sys/fs/cgroup/memory.max": "1048576"}
    monkeypatch.setattr(machine, "_file", lambda path: limits.get(str(path), ""))
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert machine.cores() == 2 and machine.memory() == 1 << 20
    limits.update({"/sys/fs/cgroup/cpu.max": "max 100000", "/sys/fs/cgroup/memory.max": "max"})
    assert machine.cores() == 8 and machine.memory() > 1 << 20


def test_no_nvidia_smi_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A100, 40960 MiB'\n")
    tool.chmod(0o755)
    assert machine.gpus() == ("NVIDIA A100, 40960 MiB",)


def test_best_is_the_least_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake clock: the calls take 9 (warm-up, not counted), 5, 3, 4, ... seconds."""
    now, durations = [0.0], iter([9.0, 5.0, 3.0, 4.0, 1.0])
    monkeypatch.setattr(probe.time, "perf_counter", lambda: now[0])

    def call() -> None:
        now[0] += next(durations)
    assert probe.best(call, seconds=7.5) == 3.0 and next(durations) == 4.0


def test_the_probe_measures_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.gemm(64) > 0
    assert set(probe.bandwidth(2, 1 << 20)) == {"copy", "add"}
    overheads = probe.overheads()
    assert 0 < overheads["python"] < overheads["numpy"] < 1e6          # a ufunc call does more than an empty function
