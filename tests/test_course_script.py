"""./course, run for real in a scratch folder with a stand-in for uv: no network, no waiting."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]

# Plays uv: `venv` makes bin/python, `pip sync` installs, `pip install` makes bin/hpml. Every call is noted.
FAKE_UV = r"""#!/usr/bin/env bash
echo "uv $*" >>"$CALLS"
case "$*" in
    --version) echo "uv ${FAKE_UV_VERSION:-0.99.1}" ;;
    venv*) rm -rf .venv; mkdir -p .venv/bin; touch .venv/bin/python; chmod +x .venv/bin/python ;;
    "pip sync"*) [[ ! -e sync-fails ]] || { echo "no route to the index" >&2; exit 2; } ;;
    "pip install"*)
        printf '#!/bin/sh\necho "hpml in $PWD:" "$@"\nexit 7\n' >.venv/bin/hpml; chmod +x .venv/bin/hpml ;;
esac
"""


class Checkout:
    """A copy of the launcher in a folder whose name has a space, with a PATH that we control."""

    def __init__(self, tmp_path: Path):
        self.root = tmp_path / "my course"
        self.bin = tmp_path / "bin"
        self.home = tmp_path / "home"
        self.calls = tmp_path / "calls"
        for folder in (self.root, self.bin, self.home):
            folder.mkdir()
        (self.root / "course").write_bytes((ROOT / "course").read_bytes())
        (self.root / "course").chmod(0o755)
        (self.root / "requirements.lock").write_text("numpy==2.0\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        tools = "bash cat chmod cut dirname flock head mkdir readlink rm sed sha256sum sort touch uname"
        for tool in tools.split():
            (self.bin / tool).symlink_to(f"/usr/bin/{tool}")
        for tool in ("g++", "make", "python3"):
            self.script(tool, f'#!/bin/sh\necho "{tool} $*" >>"$CALLS"\n')
        self.script("uv", FAKE_UV)

    def script(self, name: str, text: str, folder: Path | None = None) -> None:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *args: str, cwd: Path | None = None, via: Path | None = None, **env: str):
        self.calls.write_text("")
        return subprocess.run(
            [via or self.root / "course", *args],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def called(self) -> str:
        return self.calls.read_text()

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / ".complete"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_no_arguments_print_a_short_help_and_make_nothing(checkout):
    done = checkout.run()
    assert done.returncode == 0
    assert "./course lab" in done.stdout and "./course test" in done.stdout
    assert checkout.called == "" and not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"], ["lab", "--help"]])
def test_to_ask_for_help_costs_no_set_up(checkout, args):
    done = checkout.run(*args)
    assert done.returncode == 0 and "./course lab" in done.stdout and "./course setup" in done.stderr
    assert checkout.called == "" and not (checkout.root / ".venv").exists()
    checkout.run("setup")
    assert checkout.run(*args).stdout.endswith(f": {' '.join(args)}\n")


def test_first_start_sets_up_then_hands_over_arguments_and_exit_status(checkout):
    done = checkout.run("check", "04-conv-gemm", "two words", cwd=checkout.home)
    assert done.stdout == f"hpml in {checkout.home}: check 04-conv-gemm two words\n"
    assert done.returncode == 7
    assert "--compile-bytecode requirements.lock" in checkout.called
    assert "two minutes" in done.stderr
    assert checkout.stamp.exists()


def test_second_start_calls_nothing_but_hpml(checkout):
    checkout.run("setup")
    done = checkout.run("lab")
    assert checkout.called == ""
    assert done.stderr == "" and done.stdout.endswith(": lab\n")


def test_second_start_writes_nothing(checkout):
    """A course installed once for a whole class is not writable by its students."""
    checkout.run("setup")
    before = {path: path.stat().st_mtime_ns for path in checkout.root.rglob("*")}
    checkout.run("lab")
    assert {path: path.stat().st_mtime_ns for path in checkout.root.rglob("*")} == before


def test_works_through_a_symbolic_link(checkout, tmp_path):
    link = tmp_path / "elsewhere" / "course"
    link.parent.mkdir()
    link.symlink_to(checkout.root / "course")
    done = checkout.run("lab", via=link, cwd=tmp_path)
    assert done.stdout == f"hpml in {tmp_path}: lab\n"
    assert checkout.stamp.exists()


def test_packages_go_into_the_environment_and_nowhere_else(checkout):
    """UV_PYTHON chooses the interpreter; without --python, uv would also install into it."""
    checkout.run("setup", UV_PYTHON="/usr/bin/python3.12")
    installs = [line for line in checkout.called.splitlines() if line.startswith("uv pip")]
    assert len(installs) == 2
    assert all(f"--python {checkout.root}/.venv/bin/python " in line for line in installs)


def test_setup_alone_does_not_start_hpml(checkout):
    done = checkout.run("setup")
    assert done.returncode == 0 and done.stdout == ""


def test_a_failed_set_up_is_never_used_and_is_redone(checkout):
    (checkout.root / "sync-fails").touch()
    done = checkout.run("lab")
    assert done.returncode == 1
    assert "no route to the index" in done.stderr and "./course again" in done.stderr
    assert done.stdout == "" and not checkout.stamp.exists()
    (checkout.root / "sync-fails").unlink()
    assert checkout.run("lab").stdout.endswith(": lab\n")
    assert "uv venv" in checkout.called


def test_changed_pins_update_the_environment_in_place(checkout):
    checkout.run("setup")
    (checkout.root / "requirements.lock").write_text("numpy==2.1\n")
    checkout.run("setup")
    assert "uv venv" not in checkout.called and "uv pip sync" in checkout.called
    assert checkout.run("setup").stderr == ""


def test_changed_tool_settings_leave_the_environment_alone(checkout):
    checkout.run("setup")
    (checkout.root / "pyproject.toml").write_text("[project]\n[tool.ruff]\nline-length = 9\n")
    assert checkout.run("setup").stderr == ""
    (checkout.root / "pyproject.toml").write_text("[project]\ndependencies = []\n[tool.ruff]\n")
    assert "up to date" in checkout.run("setup").stderr


def test_a_moved_folder_gets_a_new_environment(checkout, tmp_path):
    checkout.run("setup")
    checkout.root = checkout.root.rename(tmp_path / "moved")
    checkout.run("setup")
    assert "uv venv" in checkout.called


def test_an_environment_whose_python_is_gone_is_made_again(checkout):
    checkout.run("setup")
    (checkout.root / ".venv" / "bin" / "python").unlink()
    checkout.run("setup")
    assert "uv venv" in checkout.called


def test_two_first_starts_make_one_environment(checkout):
    """The second start waits on the lock, then finds the environment made."""
    with (checkout.root / ".course.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        env = {"PATH": str(checkout.bin), "HOME": str(checkout.home), "CALLS": str(checkout.calls)}
        waiting = subprocess.Popen(
            [checkout.root / "course", "lab"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "waiting" in waiting.stderr.readline()
        # meanwhile "the other" finishes, in a copy that is not locked
        other = checkout.root.with_name("other")
        other.mkdir()
        for name in ("course", "requirements.lock", "pyproject.toml"):
            (other / name).write_bytes((checkout.root / name).read_bytes())
        (other / "course").chmod(0o755)
        checkout.run("setup", via=other / "course")
        stamp = (other / ".venv" / ".complete").read_text().replace(str(other), str(checkout.root))
        (other / ".venv").rename(checkout.root / ".venv")
        checkout.stamp.write_text(stamp)
        checkout.calls.write_text("")
    out, err = waiting.communicate(timeout=60)
    assert out.endswith(": lab\n") and checkout.called == ""


@pytest.mark.parametrize(("tool", "package"), [("g++", "apt-get install g++"), ("make", "dnf install make")])
def test_a_missing_tool_is_named_with_its_package(checkout, tool, package):
    (checkout.bin / tool).unlink()
    done = checkout.run("lab")
    assert done.returncode == 1
    assert f"{tool} is missing" in done.stderr and package in done.stderr
    assert not (checkout.root / ".venv").exists()


def test_uv_in_the_home_folder_is_found(checkout):
    (checkout.bin / "uv").unlink()
    checkout.script("uv", FAKE_UV, checkout.home / ".local" / "bin")
    assert checkout.run("setup").returncode == 0
    assert "uv pip sync" in checkout.called and "python3" not in checkout.called


@pytest.mark.parametrize("version", [None, "0.8.24"])
def test_without_a_recent_uv_one_is_installed_into_the_course(checkout, version):
    if version is None:
        (checkout.bin / "uv").unlink()
    # python3 -m venv makes a pip, whose install makes a recent uv
    pip = """#!/bin/sh
echo "pip $*" >>"$CALLS"
printf '%s' "$UV" >"${0%pip}uv"; chmod +x "${0%pip}uv"
"""
    venv = """#!/bin/sh
[ "$2" = venv ] && mkdir -p "$4/bin" && printf '%s' "$PIP" >"$4/bin/pip" && chmod +x "$4/bin/pip"
exit 0
"""
    checkout.script("python3", venv)
    new_uv = FAKE_UV.replace("${FAKE_UV_VERSION:-0.99.1}", "0.99.1")
    done = checkout.run("setup", PIP=pip, UV=new_uv, **({"FAKE_UV_VERSION": version} if version else {}))
    assert done.returncode == 0, done.stderr
    assert "Installing uv" in done.stderr
    assert re.search(r"^pip install .*uv>=", checkout.called, re.M)


def test_a_python_without_venv_names_the_package(checkout):
    (checkout.bin / "uv").unlink()
    checkout.script("python3", "#!/bin/sh\nexit 1\n")
    done = checkout.run("setup")
    assert done.returncode == 1 and "apt-get install python3-venv" in done.stderr


@pytest.mark.parametrize("system", ["Darwin arm64", "Linux aarch64"])
def test_other_systems_are_told_what_works(checkout, system):
    (checkout.bin / "uname").unlink()
    checkout.script("uname", f"#!/bin/sh\necho {system}\n")
    done = checkout.run("lab")
    assert done.returncode == 1
    assert system in done.stderr and "container" in done.stderr and "WSL" in done.stderr


# The pins stand in one place.


def pins(text: str) -> dict[str, str]:
    return {m[1].lower(): m[2] for m in re.finditer(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.M)}


LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_pin_has_a_hash_and_no_address():
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.M)[1:]
    assert len(entries) > 100
    assert [e.split()[0] for e in entries if "--hash=sha256:" not in e] == []
    assert "://" not in LOCK and " @ " not in LOCK


def test_the_lock_answers_every_requirement_of_the_project():
    from packaging.requirements import Requirement

    locked = pins(LOCK)
    wanted = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    for requirement in map(Requirement, wanted):
        version = locked.get(requirement.name.lower())
        assert version is not None, f"{requirement} is not locked: run the command in pyproject.toml"
        assert requirement.specifier.contains(version), f"{requirement} but requirements.lock has {version}"


def test_build_backend_is_in_the_lock():
    """The project itself is installed without a network, so its build needs nothing that the lock lacks."""
    from packaging.requirements import Requirement

    locked = pins(LOCK)
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(locked[requirement.name.lower()])


def test_the_least_uv_is_the_same_everywhere():
    least = PROJECT["tool"]["uv"]["required-version"]
    assert f"uv_least={least.removeprefix('>=')} " in (ROOT / "course").read_text()
    assert f"  - uv{least}\n" in (ROOT / "environment.yml").read_text()


def test_conda_and_binder_take_the_pins_from_the_lock():
    from packaging.specifiers import SpecifierSet

    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    names = {re.split(r"[=<>]", d)[0].lower() for d in conda["dependencies"] if isinstance(d, str)}
    assert len(names) == len(conda["dependencies"]), "no pip section: postBuild installs requirements.lock"
    assert names.isdisjoint(pins(LOCK)), "a package of requirements.lock is pinned a second time"
    (python,) = (d.split("=")[1] for d in conda["dependencies"] if d.startswith("python="))
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python + ".9")
    assert "requirements.lock" in (ROOT / "postBuild").read_text()


def test_hooks_use_the_tools_of_the_environment():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert all(hook["language"] == "system" for repo in config["repos"] for hook in repo["hooks"])


@pytest.mark.parametrize("name", ["course", "postBuild", ".ci/run"])
def test_scripts_are_executable_and_parse(name):
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / name], check=True)


def test_ci_runs_the_command_of_the_readme():
    assert re.search(r"^(exec )?\./course test$", (ROOT / ".ci" / "run").read_text(), re.M)
