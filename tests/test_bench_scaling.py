"""hpml.distributed.bench: rounds and rows on made-up rates, groups on a worker that only counts; one real run whose times nobody judges."""

import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hpml import cli
from hpml.course import ROOT, CourseError
from hpml.distributed import bench
from hpml.distributed.bench import ADAPTER, OTHERS, OURS, Effort, Samples
from hpml.distributed.scaling import groups
from hpml.distributed.scaling.groups import Config, Group
from hpml.measure import Interval

DDP = OTHERS["pytorch"][0]
FAMILIES = [OURS, DDP]


def rates(adapter: float, ddp: float = 0.9) -> Callable[[Config], float]:
    """One worker makes 100 images a second, two copies 160, and the ways of training together these shares of it."""
    share = {OURS.alone: 100.0, OURS.ceiling: 160.0, OURS.together[ADAPTER]: 160 * adapter, DDP.alone: 100.0, DDP.ceiling: 160.0,
             DDP.together["PyTorch DDP"]: 160 * ddp}
    return lambda config: share.get(config, 120.0)


def measured(adapter: float, ddp: float = 0.9) -> dict[str, bench.Row]:
    samples = bench.measure(FAMILIES, rates(adapter, ddp), Effort(), random.Random(1))
    return {r["name"]: r for r in bench.all_rows(FAMILIES, samples)}


def test_ratios_are_taken_over_the_right_ceilings() -> None:
    found = measured(0.98, 0.9)
    assert found["our adapter / ceiling"]["value"] == pytest.approx(0.98)
    assert found["PyTorch DDP / ceiling"]["value"] == pytest.approx(0.9)
    assert found["our adapter / PyTorch DDP, each over its ceiling"]["value"] == pytest.approx(0.98 / 0.9)
    assert found["one allreduce per tensor / ceiling"]["value"] == pytest.approx(0.75)
    assert found["Keras 3: ceiling / one worker"]["value"] == pytest.approx(1.6)
    assert found["Keras 3: one worker"]["value"] == pytest.approx(100) and found["Keras 3: one worker"]["unit"] == "images/s"


@pytest.mark.parametrize(("adapter", "ddp", "of_ceiling", "of_peer"), [
    (0.99, 0.9, True, True), (0.9, 0.85, False, True), (0.99, 0.995, True, False), (0.8, 0.9, False, False)])
def test_goals_are_met_or_missed_when_the_whole_interval_is(adapter: float, ddp: float, of_ceiling: bool, of_peer: bool) -> None:
    found = measured(adapter, ddp)
    assert found["our adapter / ceiling"]["met"] is of_ceiling
    assert found["our adapter / PyTorch DDP, each over its ceiling"]["met"] is of_peer


def test_a_goal_inside_the_interval_is_open() -> None:
    assert bench.row("x", Interval(0.98, 0.96, 1.0, 9), "×", 0.97)["met"] is None
    assert bench.row("x", Interval(0.98, 0.0, math.inf, 2), "×", 0.97) == {
        "name": "x", "value": 0.98, "low": 0.0, "high": None, "unit": "×", "goal": 0.97, "met": None}
    assert bench.row("x", Interval(0.98, 0.975, 0.99, 9), "×")["met"] is None                       # no goal


def test_a_slow_round_meets_both_sides_of_a_ratio() -> None:
    samples = Samples({OURS.together[ADAPTER]: [98.0, 49.0, 98.0], OURS.ceiling: [100.0, 50.0, 100.0]})
    ratios = samples.fractions(OURS.together[ADAPTER], OURS.ceiling)
    assert ratios == pytest.approx([math.log(0.98)] * 3)


def test_every_configuration_has_one_block_a_round_in_an_order_that_changes() -> None:
    asked: list[Config] = []

    def rate(config: Config) -> float:
        asked.append(config)
        return rates(0.97)(config) * (1 + 0.05 * random.Random(len(asked)).random())

    bench.measure(FAMILIES, rate, Effort(least=3, most=6), random.Random(1))
    per_round = len(OURS.configs) + len(DDP.configs)
    rounds = [asked[i:i + per_round] for i in range(0, len(asked), per_round)]
    assert all(Counter(r) == Counter(rounds[0]) and len(set(r)) == per_round for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1


def test_it_stops_once_all_goals_are_decided_but_not_before_the_least() -> None:
    effort = Effort(least=5, most=50)
    clear = bench.measure(FAMILIES, rates(0.99), effort, random.Random(1))
    assert len(clear.rates[OURS.alone]) == 5
    wild = random.Random(2)
    noisy = bench.measure(FAMILIES, lambda c: rates(0.97)(c) * math.exp(wild.gauss(0, 0.3)), effort, random.Random(1))
    assert len(noisy.rates[OURS.alone]) == 50


def test_it_stops_after_its_time() -> None:
    ticks = iter(range(1000))
    wild = random.Random(2)
    samples = bench.measure(FAMILIES, lambda c: math.exp(wild.gauss(0, 1)), Effort(least=2, most=50, seconds=4), random.Random(1),
                            clock=lambda: float(next(ticks)))
    assert len(samples.rates[OURS.alone]) == 5                  # the clock is looked at after each round from the second on


def test_rows_are_json_and_the_table_shows_what_is_open_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    found = [*measured(0.9).values(), bench.row("x", Interval(0.98, 0.0, math.inf, 2), "×", 0.97), bench.note("PyTorch DDP", "not here")]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(list(r) == ["name", "value", "low", "high", "unit", "goal", "met"] for r in found)
    bench.show(found)
    shown = capsys.readouterr().out
    assert "NO" in shown and "open" in shown and "not here" in shown


# ------------------------------------------------------------------------------------------------------------------- workers

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from serving import serve
total = 0.0
def step():
    global total
    total += {by}
    return total
print("a library prints this", flush=True)
serve({{"count": step}}, {parameters})
"""


@pytest.fixture
def counting(tmp_path: Path):
    """Groups of workers whose step adds one; all are ended in the end."""
    made: list[Group] = []

    def make(by: str = "1", parameters: str = "7", environments: int = 1) -> Group:
        script = tmp_path / f"worker{len(made)}.py"
        script.write_text(SCRIPT.format(here=str(groups.HERE), by=by, parameters=parameters))
        made.append(Group([sys.executable, str(script)], [{"HPML_RANK": str(r)} for r in range(environments)]))
        return made[-1]

    yield make
    for group in made:
        group.close()


def status(group: Group, number: int = 0) -> str:
    """The state of a worker, once a signal that is under way has arrived."""
    process = psutil.Process(group.workers[number].pid)
    end = time.monotonic() + 20
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < end:
        pass
    return process.status()


def test_a_worker_does_its_steps_and_is_frozen_before_and_after(counting) -> None:
    group = counting()
    assert group.ready() == 7
    assert status(group) == psutil.STATUS_STOPPED
    assert group.block("count", 5) >= 0 and group.block("count", 1) >= 0
    assert status(group) == psutil.STATUS_STOPPED


def test_only_the_asked_workers_run(counting) -> None:
    if len(groups.cores()) < 2:
        pytest.skip("needs two cores")
    group = counting(environments=2)
    group.ready()
    group.block("count", 3, workers=1)
    assert status(group, 1) == psutil.STATUS_STOPPED
    assert psutil.Process(group.workers[0].pid).cpu_affinity() != psutil.Process(group.workers[1].pid).cpu_affinity()


@pytest.mark.parametrize("by", ["float('nan')", "1e9"])
def test_a_training_that_diverges_is_no_measurement(counting, by: str) -> None:
    group = counting(by=by)
    group.ready()
    with pytest.raises(CourseError, match="diverged"):
        group.block("count", 2)


def test_a_worker_that_fails_says_why(counting) -> None:
    group = counting(by="no_such_name")
    group.ready()
    with pytest.raises(CourseError, match="ended: NameError.*no_such_name"):
        group.block("count", 2)


def test_a_worker_that_does_not_start_says_why(counting) -> None:
    with pytest.raises(CourseError, match="ended: NameError"):
        counting(parameters="no_such_name").ready()


def test_a_group_leaves_no_process(counting) -> None:
    group = counting()
    group.ready()
    group.close()
    assert not psutil.pid_exists(group.workers[0].pid)


# ------------------------------------------------------------------------------------------------------------------- command


def test_a_missing_peer_is_a_row_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(groups, "PEERS", tmp_path / "python")
    monkeypatch.setattr(groups, "enough_cores", lambda ranks: None)
    added: list[str] = []
    monkeypatch.setattr(bench.Stage, "add", lambda self, family: added.append(family.name))
    monkeypatch.setattr(bench.Stage, "rate", lambda self, config: rates(0.98)(config))
    found = bench.rows(bench.QUICK, cycles=[5])
    assert {r["name"]: r for r in found}["our adapter, HOROVOD_CYCLE_TIME=5 / ceiling"]["value"] == pytest.approx(0.75)
    missing = [r for r in found if r["value"] is None]
    assert added == ["Keras 3"] and len(missing) == 3
    assert all("not installed; to get it: ./course bench scaling --peers" in r["name"] and r["met"] is None for r in missing)


def test_a_peer_that_fails_to_start_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "PEERS", Path(sys.executable))
    monkeypatch.setattr(groups, "enough_cores", lambda ranks: None)

    def add(self: bench.Stage, family: bench.Family) -> None:
        if family.name != OURS.name:
            raise CourseError("it broke")

    monkeypatch.setattr(bench.Stage, "add", add)
    monkeypatch.setattr(bench.Stage, "rate", lambda self, config: rates(0.98)(config))
    assert sum("it broke" in r["name"] for r in bench.rows(bench.QUICK)) == 3


def test_ranks_need_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "cores", lambda: [0])
    with pytest.raises(CourseError, match="2 ranks need 2 cores"):
        groups.enough_cores()


@pytest.mark.parametrize(("adapter", "status"), [(0.99, 0), (0.5, 1)])
def test_the_command_fails_where_a_goal_is_missed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                                  adapter: float, status: int) -> None:
    monkeypatch.setattr(bench, "rows", lambda *_: list(measured(adapter).values()))
    assert cli.main(["bench", "scaling", "--quick", "--json"]) == status
    assert {r["name"] for r in json.loads(capsys.readouterr().out)} == measured(adapter).keys()


def test_the_peers_pins_are_complete_and_name_no_place() -> None:
    text = bench.PINS.read_text(encoding="utf-8")
    assert "://" not in text
    pins = [line for line in text.splitlines() if "==" in line.split(" ;")[0] and not line.startswith("#")]
    assert len(pins) == text.count(" ; ") and text.count("--hash=sha256:") >= len(pins)
    for name in ("torch==", "tf-keras==", "tensorflow-cpu==2.18.1"):
        assert any(line.startswith(name) for line in pins)


@pytest.mark.slow
def test_the_network_is_lab_11s() -> None:
    """Run apart: the worker's modules have plain names, and this process stays without a framework."""
    code = f"""
import ast, sys
sys.path.insert(0, {str(groups.HERE)!r})
import keras
import model, serving
tree = ast.parse(open("labs/11-horovod/train.py", encoding="utf-8").read())
space = {{"keras": keras}}
exec(compile(ast.Module([n for n in tree.body if getattr(n, "name", "") == "resnet"], []), "train.py", "exec"), space)
ours, theirs = model.resnet(keras), space["resnet"]()
assert [w.shape for w in ours.trainable_variables] == [w.shape for w in theirs.trainable_variables]
assert ours.input_shape == theirs.input_shape and len(ours.layers) == len(theirs.layers)
batch = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args and getattr(n.args[0], "value", 0) == "--batch")
assert serving.BATCH == next(k.value.value for k in batch.keywords if k.arg == "default")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)                       # six groups start one after another; under load that takes minutes
def test_the_whole_thing() -> None:
    groups.enough_cores()
    found = {r["name"]: r for r in bench.rows(bench.QUICK)}
    assert found["our adapter / ceiling"]["value"] > 0
    assert found["Keras 3: 2 copies, the ceiling"]["value"] > 0
    if groups.PEERS.exists():
        assert all(r["value"] is not None for r in found.values()), "an installed peer did not run"
    children = psutil.Process().children(recursive=True)
    assert not [c for c in children if "with_" in " ".join(c.cmdline())]
