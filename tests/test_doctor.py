"""hpml.doctor: the judgement on facts made up here, and the gathering with every probe replaced."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hpml import doctor, doctor_gpu
from hpml.doctor import GIB, Facts, judge

SEEN = doctor_gpu.Seen(driver="555.42.06", cuda="12.5.1", visible=1, nccl=True, library="/lib/libnccl.so.2")

GOOD = Facts(
    system="Linux x86_64",
    distribution="debian",
    python=(3, 11),
    packages=dict.fromkeys(("tensorflow-cpu", "keras", "horovod", "jupyterlab", "nbgrader"), "1.0"),
    cpu_flags=frozenset({"avx", "avx2"}),
    cores=2,
    memory=8 * GIB,
    folders={"/home/me": 50 * GIB},
    tools={name: f"/usr/bin/{name}" for name in (*doctor.TOOLS, "browser")},
    jail_problem=None,
    sysctl={"user.max_user_namespaces": "60000"},
    root=False,
    gpus=("H200, 143771 MiB",),
    pythonpath="",
    accelerated=SEEN,
)


def finding(name: str, **changes) -> doctor.Finding:
    (found,) = (f for f in judge(replace(GOOD, **changes)) if f.name == name)
    return found


def without(*tools: str) -> dict[str, str]:
    return {name: "" if name in tools else path for name, path in GOOD.tools.items()}


def test_nothing_is_missing_on_a_good_machine():
    findings = judge(GOOD)
    assert {f.status for f in findings} == {"ok"}
    assert all(f.seen and not f.advice for f in findings)
    assert doctor.verdict(findings) == "Everything essential is here. Go on with: ./course lab"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("system", {"system": "Darwin arm64"}),
        ("Python", {"python": (3, 13)}),
        ("packages", {"packages": {k: v for k, v in GOOD.packages.items() if k != "horovod"}}),
        ("packages", {"packages": {k: v for k, v in GOOD.packages.items() if k != "tensorflow-cpu"}}),
        ("processor", {"cpu_flags": frozenset({"sse4_2"})}),
        ("memory", {"memory": GIB}),
        ("/home/me", {"folders": {"/home/me": None}}),
        ("/home/me", {"folders": {"/home/me": GIB // 4}}),
        ("PYTHONPATH", {"pythonpath": "/opt/modules/python"}),
    ],
)
def test_each_essential_is_a_problem_alone_and_says_what_to_do(name, changes):
    findings = judge(replace(GOOD, **changes))
    assert [f.name for f in findings if f.status != "ok"] == [name]
    found = finding(name, **changes)
    assert found.status == "problem" and found.without and found.command
    assert name in doctor.verdict(findings)


def test_tensorflow_for_gpus_counts_as_tensorflow():
    packages = {**GOOD.packages, "tensorflow": "2.18.1"}
    del packages["tensorflow-cpu"]
    assert finding("packages", packages=packages).status == "ok"


@pytest.mark.parametrize("tool", ["g++", "make"])
def test_a_compiler_is_both_tools(tool):
    found = finding("compiler", tools=without(tool))
    assert (found.status, found.command) == ("optional", "sudo apt-get install g++ make")


@pytest.mark.parametrize(
    ("name", "tool"), [("browser", "browser"), ("git", "git"), ("Slurm", "sbatch"), ("MPI", "mpirun"), ("hub", "node"), ("hub", "npm")]
)
def test_extras_are_optional_and_say_what_is_lost(name, tool):
    findings = judge(replace(GOOD, tools=without(tool)))
    (found,) = (f for f in findings if f.status != "ok")
    assert found.name == name and found.status == "optional" and found.without
    assert found.command.startswith("sudo apt-get install ")
    assert name in doctor.verdict(findings) and "essential is here" in doctor.verdict(findings)


@pytest.mark.parametrize(
    ("distribution", "root", "command"),
    [
        ("ubuntu debian", False, "sudo apt-get install chromium"),
        ("debian", True, "apt-get install chromium"),
        ("fedora", False, "sudo dnf install chromium"),
        ("rocky rhel centos fedora", True, "dnf install chromium"),
    ],
)
def test_commands_fit_the_distribution(distribution, root, command):
    found = finding("browser", tools=without("browser"), distribution=distribution, root=root)
    assert found.command == command


@pytest.mark.parametrize(
    ("name", "changes", "seen", "command"),
    [
        ("GPU driver", {"driver": "470.182.03"}, "470.182.03", "sudo apt-get install nvidia-driver"),
        ("GPU driver", {"driver": "525.60"}, "525.60", "sudo apt-get install nvidia-driver"),
        ("GPU driver", {"driver": ""}, "unknown", "sudo apt-get install nvidia-driver"),
        ("TensorFlow on GPU", {"cuda": "", "visible": 0}, "it was built without CUDA", "make the GPU environment: docs/many-nodes.md"),
        ("TensorFlow on GPU", {"visible": 0}, "it has CUDA and sees no GPU", "update the driver"),
        ("TensorFlow on GPU", {"conflict": True}, "tensorflow and tensorflow-cpu are both installed", "make the GPU environment"),
        ("NCCL", {"library": ""}, "not found", "sudo apt-get install libnccl2 libnccl-dev"),
        ("Horovod on GPU", {"nccl": False}, "built without NCCL", "make the GPU environment: docs/many-nodes.md"),
    ],
)
def test_what_a_gpu_needs_is_found_out_one_by_one(name, changes, seen, command):
    findings = judge(replace(GOOD, accelerated=replace(SEEN, **changes)))
    (found,) = (f for f in findings if f.status != "ok")
    assert (found.name, found.status, found.seen) == (name, "optional", seen)
    assert found.without and found.command.startswith(command)


def test_the_named_document_has_the_named_section():
    assert '## GPUs\n' in (doctor.Path(doctor.__file__).parents[1] / doctor_gpu.DOCUMENT).read_text(encoding="utf-8")


def test_without_a_gpu_nothing_else_of_it_is_asked():
    findings = judge(replace(GOOD, gpus=(), accelerated=None))
    assert [f.name for f in findings if f.status != "ok"] == ["GPU"]
    assert not {"GPU driver", "NCCL", "Horovod on GPU", "TensorFlow on GPU"} & {f.name for f in findings}


def test_a_gpu_is_looked_at_through_commands():
    answers = {
        "nvidia-smi": "555.42.06\n555.42.06\n",
        "ldconfig": "\tlibnccl.so.2 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnccl.so.2\n",
        doctor.sys.executable: 'a warning\n{"cuda": "12.5.1", "visible": 2, "nccl": true}\n',
    }
    seen = doctor_gpu.look(lambda *command: answers[command[0]], lambda name: None)
    assert seen == doctor_gpu.Seen("555.42.06", "12.5.1", 2, True, "/usr/lib/x86_64-linux-gnu/libnccl.so.2")
    nothing = doctor_gpu.look(lambda *command: "", {"nvidia-nccl-cu12": "2.21.5", "tensorflow": "1", "tensorflow-cpu": "1"}.get)
    assert nothing == doctor_gpu.Seen("", "", 0, False, "nvidia-nccl-cu12 2.21.5", conflict=True)


@pytest.mark.slow
def test_the_probe_tells_what_this_environment_has():
    found = json.loads(doctor._output(doctor.sys.executable, "-c", doctor_gpu.PROBE).splitlines()[-1])
    assert found.keys() == {"cuda", "visible", "nccl"}
    if doctor.installed("tensorflow-cpu"):
        assert found == {"cuda": "", "visible": 0, "nccl": False}


def test_an_unknown_distribution_gets_both_commands():
    command = finding("git", tools=without("git"), distribution="arch").command
    assert "apt-get install git" in command and "dnf install git" in command


def test_a_missing_bubblewrap_is_installed():
    found = finding("jail", jail_problem="bubblewrap is not installed")
    assert (found.status, found.command) == ("optional", "sudo apt-get install bubblewrap")
    assert found.seen == "bubblewrap is not installed"


@pytest.mark.parametrize(
    ("sysctl", "root", "command"),
    [
        ({"user.max_user_namespaces": "0"}, False, "sudo sysctl -w user.max_user_namespaces=15000"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "9"},
            False,
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"kernel.unprivileged_userns_clone": "1"}, False, "ask for user namespaces"),
        ({"user.max_user_namespaces": "0"}, True, "ask for user namespaces"),
    ],
)
def test_blocked_namespaces_name_the_switch_that_blocks(sysctl, root, command):
    found = finding("jail", jail_problem="bubblewrap does not work here", sysctl=sysctl, root=root)
    assert found.command.startswith(command)


def test_distribution_reads_os_release():
    assert doctor.distribution('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n') == (
        "rocky rhel centos fedora"
    )
    assert doctor.distribution("ID=debian\n") == "debian"
    assert doctor.distribution("") == ""


def test_memory_is_what_the_cgroup_allows():
    assert doctor.memory_limit(8 * GIB, "max\n") == 8 * GIB
    assert doctor.memory_limit(8 * GIB, f"{3 * GIB}\n", "") == 3 * GIB
    assert doctor.memory_limit(8 * GIB, str(1 << 62)) == 8 * GIB


def test_free_space_of_a_folder_that_is_not_made_yet(tmp_path):
    assert doctor.free_space(tmp_path / "not" / "yet") > 0
    assert list(tmp_path.iterdir()) == []


def test_free_space_below_something_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    assert doctor.free_space(tmp_path / "file" / "below") is None


def test_look_asks_only_through_its_probes(tmp_path):
    texts = {
        "/etc/os-release": "ID=ubuntu\nID_LIKE=debian\n",
        "/proc/cpuinfo": "processor : 0\nflags\t\t: fpu avx avx2\n",
        "/sys/fs/cgroup/memory.max": str(GIB),
        "/proc/sys/user/max_user_namespaces": "0\n",
    }
    facts = doctor.look(
        which=lambda tool: f"/bin/{tool}" if tool in ("make", "google-chrome", "nvidia-smi") else None,
        output=lambda *command: "A100, 40 GiB\n" if command[0] == "nvidia-smi" else "",
        read=lambda path: texts.get(path, ""),
        jail_problem=lambda: "bubblewrap is not installed",
        env={"HOME": str(tmp_path / "home"), "HPML_DATA": str(tmp_path / "data"), "PYTHONPATH": "/x"},
    )
    assert facts.distribution == "ubuntu debian"
    assert facts.cpu_flags == {"fpu", "avx", "avx2"}
    assert facts.memory == GIB
    assert facts.sysctl == {"user.max_user_namespaces": "0"}
    assert facts.tools["make"] == "/bin/make" and facts.tools["g++"] == ""
    assert facts.tools["browser"] == "/bin/google-chrome"
    assert facts.gpus == ("A100, 40 GiB",) and facts.accelerated is not None
    assert facts.pythonpath == "/x"
    assert {str(tmp_path / "home"), str(tmp_path / "data")} < facts.folders.keys()


def test_installed_packages_are_found_without_importing_them():
    assert doctor.installed("horovod") == "0.28.1"
    assert doctor.installed("no-such-distribution") is None


@pytest.fixture
def on(monkeypatch):
    def put(facts: Facts) -> None:
        monkeypatch.setattr(doctor, "look", lambda: facts)

    return put


@pytest.mark.parametrize(
    ("facts", "status"), [(GOOD, 0), (replace(GOOD, tools=without("git")), 0), (replace(GOOD, memory=1), 1)]
)
def test_main_fails_only_for_essentials(on, capsys, facts, status):
    on(facts)
    assert doctor.main([]) == status


def test_main_prints_plain_text_into_a_pipe(on, capsys):
    on(replace(GOOD, tools=without("browser")))
    doctor.main([])
    out = capsys.readouterr().out
    assert "optional  browser: not found\n" in out
    assert "to get it:  sudo apt-get install chromium\n" in out
    assert out.endswith("Not here, and perhaps not needed: browser. Go on with: ./course lab\n")
    assert "\x1b" not in out


def test_main_prints_json(on, capsys):
    on(replace(GOOD, python=(3, 13)))
    assert doctor.main(["--json"]) == 1
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["Python"]["status"] == "problem" and found["Python"]["command"]
    assert found["memory"] == {
        "name": "memory", "status": "ok", "seen": "8.0 GiB", "without": "", "command": ""
    }


def test_the_table_shows_every_finding_with_its_command():
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as capture:
        console.print(doctor.table(judge(replace(GOOD, tools=without("git"), gpus=("a [b] c",)))))
    text = capture.get()
    assert "sudo apt-get install git" in text and "a [b] c" in text
