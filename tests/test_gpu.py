"""GPUs: who holds which, exercises that compute on one, and what is pending where there is none. Marked tests need a real one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import use_course

from hpml import course, gpu, machine, theme
from hpml.referee import timing
from hpml.referee.judge import judge
from hpml.referee.resources import LabReferee
from hpml.verdict import Outcome, Verdict

MANIFEST = """
title: A course with a GPU, for tests
parts: {1: One}
labs:
  - lab: 01-gpu
    title: Where is the matrix?
    part: 1
    status: ready
    minutes: 5
    exercises:
      gram:
        points: 4
        correct: 1
        shape: {n: 1024}
        speedup: {over: twice, start: 1.02, full: 1.2, gpu: {start: 1.02, full: 1.3}}
"""
EXERCISES = """
import numpy as np
from hpml.exercise import Exercise, Work

def sample(rng, size):
    return (rng.standard_normal((size["n"], size["n"])).astype(np.float32) / size["n"] ** 0.5,)

def twice(x):
    from keras import ops
    for _ in range(24):
        y = ops.matmul(ops.transpose(x), x)
    return ops.sum(y, axis=0)

EXERCISES = {"gram": Exercise(sample, lambda x: (x.T.astype(np.float64) @ x).sum(0).astype(np.float32), ({"n": 4}, {"n": 33}),
                              baselines={"twice": twice}, tolerance={"float32": 2e-3}, preload=("keras",), forbids=(), timing="gpu",
                              work=lambda size: Work(2.0 * size["n"] ** 3, 8.0 * size["n"] ** 2))}
"""
LAB = '''# %% given="preamble"
from keras import ops
# %% exercise="gram"
def gram(x):
    """The column sums of xᵀx."""
    ### BEGIN SOLUTION
    return ops.sum(ops.matmul(ops.transpose(x), x), axis=0)
    ### END SOLUTION
# %% check="gram"
check("gram")
'''


@pytest.fixture(scope="module")
def referee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabReferee]:
    root = tmp_path_factory.mktemp("course")
    folder = root / "labs" / "01-gpu"
    folder.mkdir(parents=True)
    (root / "course.yml").write_text(MANIFEST)
    (folder / "exercises.py").write_text(EXERCISES)
    (folder / "lab.py").write_text(LAB)
    with pytest.MonkeyPatch.context() as patch, use_course(root, tmp_path_factory.mktemp("cache"), patch):
        referee = LabReferee("01-gpu", "grade")
        yield referee
        referee.close()


def verdict(referee: LabReferee, source: str) -> Verdict:
    return judge(referee, {"gram": source}, seed=3)[0]


def solution(referee: LabReferee) -> str:
    return referee.source.answers["gram"]


# ---------------------------------------------------------------------------------------------------- without a GPU


@pytest.fixture
def none_here(monkeypatch: pytest.MonkeyPatch, referee: LabReferee) -> None:
    monkeypatch.setattr(gpu, "present", list)


def test_right_on_the_processor_and_pending_on_the_clock(referee: LabReferee, none_here: None) -> None:
    found = verdict(referee, solution(referee))
    assert found.outcome is Outcome.NOT_MEASURABLE and found.outcome.pending and found.score == 1, found.message
    assert "no GPU here" in found.notes[-1]


def test_wrong_without_a_gpu_is_wrong(referee: LabReferee, none_here: None) -> None:
    found = verdict(referee, solution(referee).replace("axis=0", "axis=1").replace("ops.transpose(x), x", "x, x"))
    assert found.outcome is Outcome.WRONG and "First difference" in found.message


def test_tensors_go_through_the_clock_as_on_a_gpu(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole path of a GPU exercise, with the processor in the GPU's place: how fast that is does not matter."""
    monkeypatch.setattr(referee, "gpu", lambda: 0)
    monkeypatch.setattr(gpu, "nodes", list)
    monkeypatch.setattr(gpu, "backend", lambda: "tensorflow")
    found = verdict(referee, solution(referee))
    assert found.outcome in (Outcome.PASS, Outcome.PARTIAL, Outcome.TOO_NOISY) and found.score >= 1, found.message
    measured = found.measured[0]
    assert measured.clock == "gpu" and measured.full == 1.3 and len(measured.samples) >= timing.LEAST_PAIRS


def test_targets_of_the_machine_class() -> None:
    target = course.parse(MANIFEST).lab("01-gpu").exercises["gram"].speedup
    assert target and (target.on("cpu").full, target.on("gpu").full, target.on("gpu").versus) == (1.2, 1.3, "twice")
    with pytest.raises(course.CourseError, match="full .1. must be larger than start"):
        course.parse(MANIFEST.replace("full: 1.3", "full: 1"))


def test_one_job_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "present", lambda: [0, 1])
    monkeypatch.setattr(gpu.tempfile, "gettempdir", lambda: str(tmp_path))
    first, second = gpu.Claim(), gpu.Claim()
    assert (first.number, second.number) == (0, 1)
    with pytest.raises(gpu.NoGPU, match="at work on another check"):
        gpu.Claim(wait=0)
    first.close()
    third = gpu.Claim(wait=0)
    assert third.number == 0
    for claim in (second, third):
        claim.close()
    monkeypatch.setattr(gpu, "present", list)
    with pytest.raises(gpu.NoGPU, match="no GPU on this machine"):
        gpu.Claim()


def test_only_the_gpus_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.glob, "glob", lambda pattern: ["/dev/nvidia0", "/dev/nvidia3", "/dev/nvidiactl", "/dev/nvidia-uvm"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu.present() == [0, 3]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert gpu.present() == [3] and gpu.environment(3)["CUDA_VISIBLE_DEVICES"] == "3"
    assert gpu.environment(None) == {"CUDA_VISIBLE_DEVICES": ""}


def test_work_done_while_getting_ready_is_counted() -> None:
    """An answer that computes while its inputs travel to the device gains nothing by it."""
    def series(seconds: float, preparing: float) -> Any:
        return SimpleNamespace(block=lambda: seconds, exercise=SimpleNamespace(timing="gpu"), waiting=0.0, preparing=preparing, calls=2)
    target = course.Target(versus="x", start=2, full=20)
    found, _ = timing.pairs(series(1e-3, 0.5), series(1e-2, 0.1), target, "speedup", np.random.default_rng(0), clock=lambda: 0.0)
    assert found.samples[0] == (pytest.approx(1e-3 + 0.4 / 2), 1e-2) and found.credit == 0


def test_the_card_without_a_usable_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    card = machine.card()
    monkeypatch.setattr(gpu, "present", list)
    assert gpu.measure() is None
    monkeypatch.setattr(gpu, "present", lambda: [0])

    def probe(code: int, out: str) -> None:
        done = subprocess.CompletedProcess([], code, out, "")
        monkeypatch.setattr(gpu, "subprocess", SimpleNamespace(run=lambda *a, **k: done, TimeoutExpired=subprocess.TimeoutExpired))

    probe(1, "")
    assert gpu.measure() is None
    figures = {"name": "Made-up", "backend": "torch", "gemm": 5e4, "gemm_half": 7e5, "gemm_n": 8192, "copy_gbs": 4000, "launch_us": 6.0,
               "round_trip_us": 30.0}
    probe(0, "noise\n" + json.dumps(figures))
    found = gpu.measure()
    assert found and found.gemm == 5e4
    card = card.model_copy(update={"gpu": found, "gpu_nodes": 1})
    assert "Made-up, through Keras on torch" in str(card) and f"memory {theme.number(4000)} GB/s" in str(card)
    assert "cannot use the GPU" in str(card.model_copy(update={"gpu": None}))


# ------------------------------------------------------------------------------------------------------- with a GPU


@pytest.mark.gpu
def test_the_card_of_a_gpu() -> None:
    found = gpu.measure()
    assert found and found.gemm_half > found.gemm > 1000 and found.copy_gbs > 50 and 0 < found.launch_us < 1000


@pytest.mark.gpu
def test_a_verdict_on_a_gpu(referee: LabReferee) -> None:
    found = verdict(referee, solution(referee))
    assert found.outcome is Outcome.PASS and found.measured[0].clock == "gpu", (found.message, found.notes)
    assert found.roofline and found.roofline.fraction_of_peak > 0


@pytest.mark.gpu
def test_an_answer_that_returns_before_it_is_done_gains_nothing(referee: LabReferee) -> None:
    lazy = ("def gram(x):\n    for _ in range(200):\n        y = ops.matmul(ops.transpose(x), x)\n"
            "    return ops.sum(y, axis=0)")
    found = verdict(referee, lazy)
    assert found.measured and found.measured[0].credit == 0, "launching is quick; the copy of the result waits for the work"


@pytest.mark.gpu
def test_no_other_gpu_is_seen(referee: LabReferee) -> None:
    found = verdict(referee, "import os\ndef gram(x):\n    assert os.environ['CUDA_VISIBLE_DEVICES'].isdigit()\n"
                             "    return ops.sum(ops.matmul(ops.transpose(x), x), axis=0)")
    assert found.passed, found.message


@pytest.mark.gpu
def test_the_probe_says_why_it_cannot_measure() -> None:
    done = subprocess.run([sys.executable, "-I", str(Path(gpu.__file__).with_name("probe_gpu.py"))], capture_output=True, text=True,
                          env={"CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin", "KERAS_BACKEND": gpu.backend() or ""}, timeout=120)
    assert done.returncode == 1 and "sees no GPU" in done.stderr
