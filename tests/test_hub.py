"""The parts of a hub: its folder, the walls around a student, limits, logins, and that the files in deploy/ name what exists."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.roles import get_default_roles
from traitlets.config import Config

from hpml import course
from hpml.course import ROOT, CourseError
from hpml.hub import limits, login, size, spawner
from hpml.hub.checks import SCOPE
from hpml.hub.folder import ClassFolder
from hpml.hub.load import percentile
from hpml.referee.jail import bubblewrap_problem

LAB = "04-conv-gemm"
AS_ROOT = os.getuid() == 0
HUB = ROOT / "deploy" / "hub"
KUBERNETES = ROOT / "deploy" / "kubernetes"


# ------------------------------------------------------------------------------------------------------------------------- the folder


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> ClassFolder:
    """A class of two, made as `hpml hub` makes it."""
    made = ClassFolder(tmp_path_factory.mktemp("folder") / "class")
    made.make(["amara", "bilal"], [course.load().lab(LAB)])
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_folder_is_closed_and_the_exchange_is_as_nbgrader_wants_it(there: ClassFolder) -> None:
    assert mode(there.root) == 0o700 and mode(there.logins) == 0o600
    exchange = there.exchange / "hpml"
    assert mode(there.exchange) == 0o1777
    assert [mode(exchange / name) for name in ("outbound", "inbound", "feedback")] == [0o755, 0o2733, 0o711]
    assert (exchange / "outbound" / LAB / f"{LAB}.ipynb").read_bytes() == (ROOT / "notebooks" / LAB / f"{LAB}.ipynb").read_bytes()
    assert (there.course / "source" / LAB / f"{LAB}.ipynb").read_bytes() == (ROOT / "solutions" / LAB / f"{LAB}.ipynb").read_bytes()
    assert not [p for p in there.release.rglob("*") if p.name in ("labs", "solutions", "grade", "hub", "exercises.py")]
    assert len({p.password for p in there.people().values()}) == 3 and len({p.uid for p in there.people().values()}) == 3


def test_a_second_start_keeps_people_and_work(there: ClassFolder) -> None:
    before, work = there.people(), there.root / "students" / "amara" / "work.txt"
    work.write_text("mine")
    there.make(["chiyo"], [course.load().lab(LAB)])
    after = there.people()
    assert {name: after[name] for name in before} == before and set(after) == {*before, "chiyo"}
    assert work.read_text() == "mine" and "chiyo" in there.passwd()


@pytest.mark.parametrize("name", ["root", "Ada", "a b", "../x", "", "daemon"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CourseError, match="cannot be a name here"):
        ClassFolder(tmp_path / "class").make([name], [])


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(CourseError, match="--to"):
        ClassFolder(tmp_path).make(["amara"], [])
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


# -------------------------------------------------------------------------------------------------------------------------- the walls


@pytest.fixture
def behind(there: ClassFolder, tmp_path: Path) -> Any:
    """Runs a shell command where a student's server would run. Returns its output, both streams."""
    if problem := bubblewrap_problem():
        pytest.skip(problem)

    def run(name: str, command: str) -> str:
        walls = spawner.around_student(there, there.people()[name], tmp_path, AS_ROOT)
        done = subprocess.run([*walls, "sh", "-c", command], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, timeout=60)
        return done.stdout + done.stderr
    return run


def test_a_student_is_who_they_are_and_has_a_home(behind: Any, there: ClassFolder) -> None:
    assert behind("amara", "id -un; pwd; echo mine > note; cat note").split() == ["amara", "/home/amara", "mine"]
    owner = there.people()["amara"].uid if AS_ROOT else os.getuid()
    assert (there.root / "students" / "amara" / "note").stat().st_uid == owner
    assert "CapEff:\t0000000000000000" in behind("amara", "cat /proc/self/status")


def test_a_student_sees_no_others_and_no_trusted_side(behind: Any, there: ClassFolder) -> None:
    seen = behind("bilal", f"ls /home {ROOT} {there.root} {there.course}").split("\n")
    assert "bilal" in seen and "amara" not in seen
    assert not {"labs", "solutions", "tests", "logins.json", "gradebook.db"} & set(seen)
    assert int(behind("bilal", "ls /proc | grep -c '^[0-9]'")) < 8  # processes: their own
    assert "exercises.py" not in behind("bilal", "ls -R /course")


def test_a_student_writes_into_inbound_only(behind: Any) -> None:
    for place in ("/course", "/exchange/hpml/outbound", "/exchange/hpml/feedback", "/etc/jupyter-hub", "/usr", "/run/hpml"):
        assert re.search("Read-only|Permission denied", behind("amara", f"touch {place}/x")), place
    assert behind("amara", "mkdir /exchange/hpml/inbound/amara+x && echo went").strip() == "went"


@pytest.mark.skipif(not AS_ROOT, reason="without root, students share one user number")
def test_nobody_lists_the_submissions_of_others(behind: Any) -> None:
    behind("amara", "mkdir -p /exchange/hpml/inbound/amara+secret")
    assert "Permission denied" in behind("bilal", "ls /exchange/hpml/inbound")
    assert "Permission denied" in behind("bilal", "ls /exchange/hpml/feedback")
    assert "not permitted" in behind("bilal", "mv /exchange/hpml /exchange/other")


def test_the_release_answers_for_hpml(behind: Any) -> None:
    said = behind("amara", f"PYTHONPATH=/course HPML_ROOT=/course {sys.executable} -c 'import hpml; print(hpml.__file__)'")
    assert said.strip() == "/course/hpml/__init__.py"


# ------------------------------------------------------------------------------------------------------------------------- the limits


def test_limits_in_groups_of_the_second_kind(tmp_path: Path) -> None:
    """A folder in the place of the kernel's, with the files that the kernel would make."""
    (tmp_path / "cgroup.controllers").write_text("memory cpu pids")
    user = tmp_path / "hub" / "amara"
    user.mkdir(parents=True)
    for file in ("memory.max", "cpu.max", "pids.max", "cgroup.procs"):
        (user / file).touch()
    groups = limits.Groups("hub", tmp_path)
    doors = groups.make("amara", limits.Allowance(1 << 30, 1.5, 100))
    assert groups.version == 2 and doors == [user / "cgroup.procs"]
    assert [(user / f).read_text() for f in ("memory.max", "cpu.max", "pids.max")] == [str(1 << 30), "150000 100000", "100"]
    assert not (user / "memory.swap.max").exists()                  # a kernel without it: nothing is made up


def test_where_no_groups_can_be_made_each_process_is_limited(tmp_path: Path) -> None:
    groups = limits.Groups("hub", tmp_path)
    assert groups.version == 0 and groups.make("amara", limits.Allowance(1 << 30, 1.0)) == []
    program = f"from hpml.hub import limits; limits.join([], limits.Allowance({1 << 30}, 1.0)); b'x' * (2 << 30)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "MemoryError" in done.stderr


def test_the_kernel_holds_a_student_to_their_memory() -> None:
    groups = limits.Groups(f"hpml-test-{os.getpid()}")
    if not groups.version:
        pytest.skip("this account may not make control groups")
    try:
        allowed = limits.Allowance(64 << 20, 1.0)
        doors = groups.make("amara", allowed)
        done = subprocess.run([sys.executable, "-c", "x = bytearray(b'x') * (256 << 20)"], preexec_fn=lambda: limits.join(doors, allowed))
        assert done.returncode == -signal.SIGKILL
    finally:
        groups.remove()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{groups.name}"))


@pytest.mark.parametrize(("text", "number"), [("3G", 3 << 30), ("800M", 800 << 20), ("1.5 GiB", 3 << 29)])
def test_sizes(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["3", "many", "-1G", "3T"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="800M"):
        size(text)


def test_percentiles() -> None:
    assert percentile([float(i) for i in range(20, 0, -1)], 0.95) == 19 and percentile([3.0], 0.95) == 3


def test_only_ones_own_password_opens() -> None:
    door = login.ClassAuthenticator(passwords={"amara": "a-long-one", "bilal": "another"})

    def tried(name: str, password: str) -> str | None:
        return asyncio.run(door.authenticate(None, {"username": name, "password": password}))
    assert tried("amara", "a-long-one") == "amara"
    assert [tried(*pair) for pair in (("amara", "another"), ("amara", ""), ("chiyo", ""), ("chiyo", "another"))] == [None] * 4


# ------------------------------------------------------------------------------------------------------------- configurations parse


def configured(path: Path, **more: Any) -> tuple[Config, dict[str, Any]]:
    """What a configuration file sets, and the names in it."""
    made = Config()
    names: dict[str, Any] = {"get_config": lambda: made, "__name__": "config", **more}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return made, names


@pytest.mark.parametrize("queue", ["", "slurm"])
def test_the_hubs_configuration_sets_only_what_exists(there: ClassFolder, monkeypatch: pytest.MonkeyPatch, queue: str) -> None:
    for name, value in {"": there.root, "_RUN": "/tmp", "_PORT": "8000", "_PROXY": "node\nproxy", "_MEMORY": str(1 << 30), "_CORES": "1",
                        "_IDLE": "60", "_GROUPS": "hpml-test/none/such", "_QUEUE": queue}.items():
        monkeypatch.setenv(f"HPML_HUB{name}", str(value))
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of another hub")
    made, _ = configured(HUB / "jupyterhub_config.py")
    classes = {"JupyterHub": JupyterHub, "ConfigurableHTTPProxy": ConfigurableHTTPProxy, "WalledSpawner": spawner.WalledSpawner,
               "Spawner": spawner.WalledSpawner, "Authenticator": login.ClassAuthenticator, "ClassAuthenticator": login.ClassAuthenticator}
    for section, values in made.items():
        for name in values:
            assert classes[section].class_traits(config=True).get(name), f"c.{section}.{name}"
    assert made.JupyterHub.bind_url.startswith("http://127.0.0.1:") and made.JupyterHub.hub_ip == "127.0.0.1"
    assert made.Authenticator.admin_users == {"instructor"} and "amara" in made.Authenticator.allowed_users
    services = {service["name"]: service for service in made.JupyterHub.services}
    assert set(services) == {"idle-culler", *(["checks"] if queue else [])}
    if queue:
        kept_by_jupyterhub(made)
        assert "JUPYTERHUB_API_TOKEN" not in services["checks"]["environment"]
        port = made.Spawner.environment["HPML_QUEUE"].rpartition(":")[2]
        assert services["checks"]["command"][3:] == ["--engine=slurm", "--host=127.0.0.1", f"--port={port}"]
    else:
        assert "environment" not in made.Spawner


def kept_by_jupyterhub(made: Config) -> None:
    """The two roles that are replaced hold what JupyterHub gives them, and the queue."""
    given = {role["name"]: set(role["scopes"]) for role in made.JupyterHub.load_roles}
    for role in get_default_roles():
        if role["name"] in ("user", "server"):
            assert given[role["name"]] == {*role["scopes"], SCOPE}


# what batchspawner 1.3's SlurmSpawner has
BATCH = set("username homedir keepvars cmd partition nprocs memory runtime gres account options prologue epilogue srun ngpus qos".split())


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> tuple[Config, dict[str, Any]]:
    monkeypatch.setitem(sys.modules, "batchspawner", types.SimpleNamespace(SlurmSpawner=type("SlurmSpawner", (), {})))      # type: ignore[arg-type]
    return configured(HUB / "slurm_config.py")


def test_slurm_gives_a_cpu_by_default_and_a_gpu_on_request(slurm: tuple[Config, dict[str, Any]]) -> None:
    made, names = slurm
    template = jinja2.Environment().from_string(made.SlurmSpawner.batch_script)
    used = jinja2.meta.find_undeclared_variables(jinja2.Environment().parse(made.SlurmSpawner.batch_script))
    assert used <= BATCH and {key for p in names["PROFILES"].values() for key in p["ask"]} <= BATCH

    def script(sent: dict[str, Any]) -> str:
        server = types.SimpleNamespace(user_options=sent)
        names["fill_in"](server)
        return template.render(cmd="server", **{k.removeprefix("req_"): v for k, v in vars(server).items() if k.startswith("req_")})
    assert "--gres" not in script(names["chosen"]({})) and "--partition=cpu" in script({})
    assert "#SBATCH --gres=gpu:1\n" in script(names["chosen"]({"profile": ["gpu"]}))
    assert script({"profile": "x", "gres": "gpu:8", "partition": "big\n#SBATCH --nodes=64"}) == script({})       # sent past the form


def test_slurms_queue_listens_where_the_nodes_reach_it(slurm: tuple[Config, dict[str, Any]]) -> None:
    made, names = slurm
    kept_by_jupyterhub(made)
    service = next(s for s in made.JupyterHub.services if s["name"] == "checks")
    assert service["command"][3:] == ["--engine=slurm", f"--host={made.JupyterHub.hub_ip}", f"--port={names['SITE']['queue_port']}"]
    assert service["environment"]["HPML_ROOT"] == str(names["COURSE"])
    assert made.Spawner.environment["HPML_QUEUE"] == f"http://{socket.gethostname()}:{names['SITE']['queue_port']}"


def test_slurms_form_offers_the_profiles(slurm: tuple[Config, dict[str, Any]]) -> None:
    made, names = slurm
    assert re.findall(r'<option value="(\w+)"( selected)?', made.Spawner.options_form) == [("cpu", " selected"), ("gpu", "")]
    assert (ROOT / "docs" / "hub.md").is_file() and "docs/hub.md" in names["__doc__"]


def test_kubernetes_names_what_exists() -> None:
    values = yaml.safe_load((KUBERNETES / "hub-values.yaml").read_text(encoding="utf-8"))
    claim = yaml.safe_load((KUBERNETES / "exchange.yaml").read_text(encoding="utf-8"))
    recipe = (KUBERNETES / "hub.Dockerfile").read_text(encoding="utf-8")
    storage = values["singleuser"]["storage"]
    assert storage["extraVolumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    mount = storage["extraVolumeMounts"][0]["mountPath"]
    made, _ = configured(KUBERNETES / "nbgrader_config.py")
    assert made.Exchange.root == mount
    student = values["singleuser"]["image"]["name"]
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", recipe, re.M))
    assert {student.removeprefix("hpml-"), "instructor"} <= targets
    cpu, gpu = values["singleuser"]["profileList"]
    assert cpu["default"] and "kubespawner_override" not in cpu and gpu["kubespawner_override"]["extra_resource_limits"]["nvidia.com/gpu"]

    server = types.SimpleNamespace(user=types.SimpleNamespace(name="INSTRUCTOR"), image=f"registry/{student}:1", environment={})
    config = Config()
    config.Authenticator.admin_users = values["hub"]["config"]["Authenticator"]["admin_users"]
    exec(values["hub"]["extraConfig"]["course"], {"c": config})
    config.Spawner.pre_spawn_hook(server)
    assert server.image == "registry/hpml-instructor:1"
    server.user.name, server.image = "amara", f"registry/{student}:1"
    config.Spawner.pre_spawn_hook(server)
    assert server.image == f"registry/{student}:1"

    copied = [word for line in re.findall(r"^COPY (.+)$", recipe, re.M) for word in line.split()[:-1] if word != "release"]
    assert all((ROOT / name).exists() for name in copied)
    stages = dict(itertools.pairwise(re.split(r"^FROM \S+ AS (\w+)$", recipe, flags=re.M)[1:]))
    assert not re.search(r"^COPY .*\b(labs|hpml)\b", stages["student"], re.M)     # the students' image holds the release only


def test_the_proxy_is_pinned_with_hashes_and_names_no_place() -> None:
    lock = json.loads((HUB / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    wanted = json.loads((HUB / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert packages["node_modules/configurable-http-proxy"]["version"] == wanted["configurable-http-proxy"]
    assert all(e["integrity"].startswith("sha512-") and "resolved" not in e for e in packages.values())
