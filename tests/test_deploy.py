"""deploy/: what a cluster would get: the manifest against the operator's rules, the pins, the image's recipe, the job script."""

import copy
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hpml.course import ROOT

DEPLOY = ROOT / "deploy"
SCHEMA = yaml.safe_load((DEPLOY / "kubernetes" / "mpijob.schema.yml").read_text(encoding="utf-8"))
JOB = yaml.safe_load((DEPLOY / "kubernetes" / "mpijob.yaml").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def container(job: dict[str, Any], role: str) -> dict[str, Any]:
    return job["spec"]["mpiReplicaSpecs"][role]["template"]["spec"]["containers"][0]


def mutated(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    job = copy.deepcopy(JOB)
    change(job)
    return job


def test_the_manifest_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(JOB)


@pytest.mark.parametrize("change", [
    lambda j: j.update(apiVersion="kubeflow.org/v1"),
    lambda j: j["spec"].update(cleanPodPolicy="Running"),                           # v2beta1 has it in runPolicy
    lambda j: j["spec"].update(slotsPerWorker="2"),
    lambda j: j["spec"]["runPolicy"].update(cleanPodPolicy="Sometimes"),
    lambda j: j["spec"]["mpiReplicaSpecs"].pop("Launcher"),
    lambda j: j["spec"]["mpiReplicaSpecs"].update(worker=j["spec"]["mpiReplicaSpecs"].pop("Worker")),
    lambda j: j["spec"]["mpiReplicaSpecs"]["Launcher"].update(replicas=2),
    lambda j: j["spec"]["mpiReplicaSpecs"]["Worker"].update(replicas=0),
    lambda j: j["spec"]["mpiReplicaSpecs"]["Worker"].update(restartPolicy="Always"),
    lambda j: container(j, "Launcher")["command"].append(4),
    lambda j: container(j, "Launcher")["env"].append({"name": "A", "value": 1}),
    lambda j: container(j, "Worker").pop("image"),
    lambda j: container(j, "Worker")["resources"]["limits"].update(memory="32 gigabytes"),
])
def test_what_the_operator_would_refuse_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    assert not VALIDATOR.is_valid(mutated(change))


def test_ranks_slots_and_gpus_belong_together() -> None:
    spec, command = JOB["spec"], container(JOB, "Launcher")["command"]
    slots = spec["slotsPerWorker"]
    assert int(command[command.index("-np") + 1]) == slots * spec["mpiReplicaSpecs"]["Worker"]["replicas"]
    assert container(JOB, "Worker")["resources"]["limits"]["nvidia.com/gpu"] == slots
    assert container(JOB, "Launcher")["image"] == container(JOB, "Worker")["image"]
    exported = {command[i + 1] for i, word in enumerate(command) if word == "-x"}
    assert {e["name"] for e in container(JOB, "Launcher")["env"]} <= exported       # mpirun hands on only what it is told to


def test_the_image_has_what_the_manifest_starts() -> None:
    recipe = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    root = re.search(r"^WORKDIR (\S+)$", recipe, re.M)
    assert root
    command = container(JOB, "Launcher")["command"]
    python = next(word for word in command if word.endswith("/python"))
    assert python == f"{root[1]}/.venv/bin/python" and f"uv venv --python 3.11 {python.split('/')[3]}" in recipe
    script = next(word for word in command if word.endswith(".py"))
    copied = {word for line in re.findall(r"^COPY (.+)$", recipe, re.M) for word in line.split()[:-1]}
    assert script.split("/")[0] in copied and all((ROOT / name).exists() for name in copied)
    assert "openssh-server" in recipe and container(JOB, "Worker")["command"][0] == "/usr/sbin/sshd"
    license_files = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license-files"]
    assert {"pyproject.toml", "hpml", *license_files} <= copied                     # what the build of the package reads


def pins(path: Path) -> dict[str, set[str]]:
    """Name → versions: more than one where Python 3.11 and 3.12 need different ones."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)(?:\[[a-z-]+\])?==([^ ;\\]+)", path.read_text(encoding="utf-8"), re.M):
        found.setdefault(name, set()).add(version)
    return found


def test_the_gpu_pins_are_the_courses_with_other_builds() -> None:
    course, gpu = pins(ROOT / "requirements.lock"), pins(DEPLOY / "gpu" / "requirements.lock")
    assert "tensorflow" in gpu and not {"tensorflow-cpu", "openmpi"} & gpu.keys()
    assert gpu["tensorflow"] == course["tensorflow-cpu"] and "nvidia-nccl-cu12" in gpu
    others = {name for name in gpu if name not in course and not name.startswith("nvidia-")}
    assert others == {"tensorflow"}
    differ = {name for name in gpu.keys() & course.keys() if gpu[name] != course[name]}
    assert not differ, f"make deploy/gpu/requirements.lock anew (the command stands in its pyproject.toml): {differ}"


@pytest.mark.parametrize("name", ["gpu", "peers"])
def test_pins_have_hashes_and_name_no_place(name: str) -> None:
    text = (DEPLOY / name / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert len(blocks) == sum(map(len, pins(DEPLOY / name / "requirements.lock").values())) > 30
    assert all("--hash=sha256:" in block for block in blocks)


def test_horovod_is_built_for_gpus_as_for_the_course() -> None:
    """The two [tool.uv] differ only in what has to differ."""
    course, gpu = (tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"] for folder in (ROOT, DEPLOY/"gpu"))
    assert gpu["dependency-metadata"] == course["dependency-metadata"] and gpu["environments"] == course["environments"]
    assert gpu["extra-build-variables"]["horovod"]["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    ours, theirs = (s["extra-build-dependencies"]["horovod"] for s in (course, gpu))
    assert ours[:-1] == theirs[:-1] and theirs[-1] == {"requirement": "tensorflow", "match-runtime": True}


# ----------------------------------------------------------------------------------------------------------- Slurm's job script


@pytest.fixture
def submit(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the job script as Slurm would, with stand-ins for srun and for the Python of the GPU environment."""
    def run(*args: str, mpi: bool = True) -> subprocess.CompletedProcess[str]:
        for name, text in {"srun": 'echo "srun $*"; echo "threads $OMP_NUM_THREADS"', "python": f"exit {int(not mpi)}"}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_CPUS_PER_TASK": "8",
               "HPML_PYTHON": str(tmp_path / "python")}
        return subprocess.run(["bash", str(DEPLOY / "slurm/train.sbatch"), *args], env=env, capture_output=True, text=True)
    return run


def test_the_job_script_starts_lab_11_with_its_arguments(submit: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = submit("--epochs", "10")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("srun --mpi=pmix ") and first.endswith("/python labs/11-horovod/train.py --epochs 10")
    assert second == "threads 8"


def test_the_job_script_refuses_a_horovod_without_mpi(submit: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = submit(mpi=False)                # each rank would be a world of one, and nobody would notice
    assert done.returncode == 1 and "srun" not in done.stdout
    assert "./course launch --slurm" in done.stderr and "HOROVOD_WITH_MPI=1" in done.stderr
