"""Exercises on several ranks, through the referee: right and wrong answers, in simulated worlds and in Horovod's."""

import dataclasses
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_cheats import FOLDER, Answer, corpus

from hpml import course, exercise, report
from hpml.course import CourseError
from hpml.exercise import Exercise, PerRank, on_rank
from hpml.referee import arrays, evidence, jail, simulated, timing
from hpml.referee.judge import judge
from hpml.referee.oracle import Oracle
from hpml.referee.resources import LabReferee
from hpml.verdict import Outcome, Verdict

RANKS = Path(__file__).parent / "tiny_ranks"


@pytest.fixture(scope="module")
def referee(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabReferee]:
    """One for all tests of a backend, so that the frameworks are imported once."""
    from conftest import use_course
    with pytest.MonkeyPatch.context() as patch, use_course(RANKS, tmp_path_factory.mktemp("cache"), patch):
        patch.setattr("hpml.referee.jail.choose", lambda wanted: backend)
        referee = LabReferee("01-ranks", "grade")
        yield referee
        referee.close()


def one(referee: LabReferee, name: str, source: str) -> Verdict:
    return judge(referee, referee.source.answers | {name: source}, [name], seed=1)[0]


def said(verdict: Verdict) -> str:
    return "\n".join([str(verdict.outcome), verdict.message, verdict.hint or "", *verdict.notes])


def test_the_solutions_earn_full_marks_and_the_stubs_none(referee: LabReferee) -> None:
    solved = judge(referee, referee.source.answers, ["ring", "shift", "mean"])
    assert [v.outcome for v in solved] == [Outcome.PASS] * 3, [said(v) for v in solved]
    ring = solved[0]
    assert ring.counters == ring.budgets == {"steps": 6, "bytes_per_rank": 48}         # 4 ranks, 8 numbers
    if referee.backend == "none":
        assert not solved[2].counters and "did not count" in solved[2].notes[0]
    else:
        assert 0 < solved[2].counters["loopback_bytes"] < solved[2].budgets["loopback_bytes"]
    for v in judge(referee, referee.source.stubs):
        assert v.outcome is Outcome.NOT_ATTEMPTED and v.score == 0 and "still open" in v.message


GATHER = """
def ring(comm, x):
    total = x.copy()
    if comm.rank:
        comm.Send(x, 0)
        comm.Recv(total, 0)
    else:
        other = np.empty_like(x)
        for rank in range(1, comm.size):
            comm.Recv(other, rank)
            total += other
        for rank in range(1, comm.size):
            comm.Send(total, rank)
    return total
"""
TALKS = "def shift(comm, x, by):\n    y = np.empty_like(x)\n    "


@pytest.mark.parametrize(("name", "source", "outcome", "says"), [
    ("ring", GATHER, "wrong", "is right, but it needs"),
    ("ring", GATHER, "wrong", "Send parts, not the whole."),
    ("ring", GATHER.replace("return total", "return total / comm.size"), "wrong", "That is the mean."),
    ("ring", "def ring(comm, x): return x.copy()", "wrong", "On all 2 ranks: `ring` returned wrong values. First difference at output [0]"),
    ("ring", "def ring(comm, x): return x * (2 if comm.size > 2 else 1)", "wrong", "On all 2 ranks"),
    ("ring", GATHER.replace("np.empty_like(x)", "np.empty(len(x) - 1, x.dtype)"), "wrong", "On rank 0 of 2: `ring` raised RuntimeError"),
    ("shift", TALKS + "comm.Recv(y, (comm.rank - by) % comm.size)\n    comm.Send(x, (comm.rank + by) % comm.size)\n    return y",
     "wrong", "`shift` never ends. Deadlock: ranks 0 and 1 both wait to receive"),
    ("shift", TALKS + "if comm.rank == 0: comm.Barrier()\n    return y", "wrong",
     "rank 0 waits at a barrier that rank 1 ended without reaching"),
    ("shift", TALKS + "comm.Sendrecv(x, 1 - comm.rank, recvbuf=y, source=1 - comm.rank)\n    return y * (comm.rank != 1)",
     "wrong", "On rank 1 (the other is right): `shift` returned wrong values"),
    ("shift", TALKS + "if comm.rank == 1: y[99]\n    comm.Recv(y, 1 - comm.rank)", "wrong",
     "On rank 1 of 2: `shift` raised IndexError in line 3, `if comm.rank == 1: y[99]`"),
    ("shift", TALKS + "comm.Send(x, comm.size)", "wrong", "On rank 0 of 2: `shift` raised ValueError"),
    ("shift", TALKS + "comm.Send(list(x), 1)", "wrong", "On rank 0 of 2: `shift` raised TypeError"),
    ("shift", TALKS + "x += 1\n    return y", "wrong", "changes its argument"),
    ("shift", TALKS, "wrong", "On all 2 ranks: `shift` returned None"),
    ("shift", TALKS + "import ctypes\n    if comm.rank == 1: ctypes.string_at(0)\n    return y", "crashed",
     "On rank 1 of 2: `shift` ended its process: it was ended by SIGSEGV"),
    ("shift", TALKS + "if comm.rank == 1: os._exit(3)\nimport os", "crashed",
     "On rank 1 of 2: `shift` ended its process: it left with exit status 3"),
    ("shift", TALKS + "while comm.rank == 1: pass\n    return y", "timeout", "On rank 1 of 2: `shift` did not finish within 5 s"),
    ("shift", "def shift(comm, x, by): return other(x)", "wrong", "uses `other`"),
    ("shift", "def shiftt(comm, x, by): return x", "malformed", "no longer defines `shift`"),
    ("shift", "import os\nos._exit(0)", "crashed", "On rank 0 of 2: `shift` ended its process"),
    ("mean", "import horovod.tensorflow as hvd\ndef mean(x): return hvd.allreduce(x, op=hvd.Sum).numpy()", "wrong", "That is the sum."),
    ("mean", "def mean(x): return x.copy()", "wrong", "On all 2 ranks: `mean` returned wrong values"),
    ("mean", "import horovod.tensorflow as hvd\ndef mean(x): return hvd.allreduce(x, op=hvd.Average).numpy() * (hvd.rank() == 0)", "wrong",
     "On rank 1 (the other is right)"),
    ("mean", "import horovod.tensorflow as hvd\ndef mean(x):\n    if hvd.rank() == 1: x[99]\n    return hvd.allreduce(x).numpy()", "wrong",
     "On rank 1 of 2: `mean` raised IndexError in line 3"),
    ("mean", "import os\nimport horovod.tensorflow as hvd\ndef mean(x):\n    if hvd.rank() == 1: os._exit(7)\n    return hvd.allreduce(x)",
     "crashed", "On rank 1 of 2: `mean` ended its process: it left with exit status 7"),
    ("mean", "import os\nfor fd in range(3, 30):\n    try: os.write(fd, b'HPM1' * 99)\n    except OSError: pass\ndef mean(x): return x",
     "tampered", "interfered with the referee"),
    ("mean", "def mean(x): return", "wrong", "On all 2 ranks: `mean` returned None"),
])
def test_every_answer_ends_in_its_named_outcome(referee: LabReferee, name: str, source: str, outcome: str, says: str) -> None:
    verdict = one(referee, name, source)
    assert str(verdict.outcome) == outcome and says in said(verdict), said(verdict)
    assert verdict.score == 0 and not verdict.outcome.pending


def test_ranks_that_hang_are_named_when_the_time_is_over(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(referee.declared, "mean", dataclasses.replace(referee.declared["mean"], seconds=1.5))
    hangs = "import horovod.tensorflow as hvd\ndef mean(x):\n    if hvd.rank() == 1: return x\n    return hvd.allreduce(x).numpy()"
    verdict = one(referee, "mean", hangs)
    assert verdict.outcome is Outcome.TIMEOUT
    assert "on rank 0, while the others were done. Does every rank call the same collectives" in verdict.message
    verdict = one(referee, "mean", "def mean(x):\n    while True: pass")
    assert verdict.outcome is Outcome.TIMEOUT and "nor on any other" in verdict.message


def test_ranks_that_talk_without_end_are_stopped(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "EVENTS", 500)
    verdict = one(referee, "shift", TALKS + "while True: comm.Send(x, 1)")
    assert verdict.outcome is Outcome.WRONG and "`shift` never ends. The ranks exchange more than 500 messages" in verdict.message
    monkeypatch.setattr(simulated, "HELD", 1000)
    verdict = one(referee, "shift", TALKS + "comm.Send(np.ones(999), 1)")
    assert verdict.outcome is Outcome.WRONG and "The messages of one call hold more than" in verdict.message


def test_too_many_bytes_are_shown_with_their_budget(referee: LabReferee) -> None:
    verdict = one(referee, "ring", GATHER)
    assert verdict.counters == {"steps": 6, "bytes_per_rank": 96} and verdict.budgets == {"steps": 6, "bytes_per_rank": 48}
    shown = " ".join(report.text(verdict).split())
    assert "96 bytes sent by the busiest rank (budget 48 bytes), too much" in shown and "6 steps, one after the other (budget 6)" in shown


def test_messages_that_nobody_received_are_told(referee: LabReferee) -> None:
    solution = referee.source.answers["shift"]
    verdict = one(referee, "shift", solution.replace("    comm.Recv(", "    comm.Send(x, 0, tag=9)\n    comm.Recv("))
    assert verdict.passed and "2 messages were sent that no rank received; the first from rank 0 to rank 0" in verdict.notes[0]


@pytest.mark.parametrize(("wrong", "says"), [
    ("    w = hvd.broadcast(w, root_rank=0).numpy()\n", "returned wrong values"),             # forgets the broadcast
    ("op=hvd.Average", "returned wrong values"),                                              # sums instead
    ("hvd.allreduce(gradient, op=hvd.Average).numpy()", "returned wrong values"),             # skips the communication
])
def test_training_that_is_not_full_batch_training_is_found_out(referee: LabReferee, wrong: str, says: str) -> None:
    solution = referee.source.answers["train"]
    instead = {"op=hvd.Average": "op=hvd.Sum", "hvd.allreduce(gradient, op=hvd.Average).numpy()": "gradient"}
    assert wrong in solution
    verdict = one(referee, "train", solution.replace(wrong, instead.get(wrong, "")))
    assert verdict.outcome is Outcome.WRONG and says in verdict.message and "rank" in verdict.message


def test_scaling_efficiency_is_measured_against_copies_that_do_not_talk(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "QUIET", 1.0)                       # this machine may be busy: what counts here is what is measured
    monkeypatch.setattr(timing, "QUIET_RANKS", 1.0)
    verdict = one(referee, "train", referee.source.answers["train"])
    measured = verdict.measured[0]
    assert (measured.target, measured.versus, measured.clock) == ("efficiency", "independent_copies", "wall")
    assert len(measured.samples) >= timing.LEAST_PAIRS and 0 < measured.ratio < 1.5 and verdict.score >= 2
    assert "of what this machine allows, the independent copies" in report.text(verdict).replace("\n ", "")
    kept = referee.baselines["train", "independent_copies"].worker
    assert [w.cpu_ns() for w in kept.workers] == [w.cpu_ns() for w in kept.workers]     # it stands frozen


def test_a_broken_ceiling_is_never_the_students_fault(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exercise, "baseline_source", lambda self, name: "def independent_copies(*a): raise OSError('disk')")
    if kept := referee.baselines.pop(("train", "independent_copies"), None):
        kept.worker.close()
    verdict = one(referee, "train", referee.source.answers["train"])
    assert verdict.outcome is Outcome.INFRASTRUCTURE and "not your fault" in verdict.message


def test_a_verdict_on_ranks_can_be_run_again_from_its_evidence(referee: LabReferee) -> None:
    wrong = one(referee, "ring", GATHER)
    again = judge(referee, dict(wrong.evidence["cells"]), ["ring"], int(wrong.evidence["seed"]))[0]
    assert evidence.differences(wrong, again) == [] and again.counters == wrong.counters
    less = again.model_copy(update={"counters": {"bytes_per_rank": 48}})
    assert evidence.differences(wrong, less) == ["bytes_per_rank: 96 then, 48 now, budget 48"]


def test_no_rank_outlives_a_verdict(referee: LabReferee) -> None:
    def descendants() -> set[int]:
        found, left = set(), [os.getpid()]
        while left:
            below = jail.children(left.pop())
            found.update(below)
            left += below
        return found

    one(referee, "mean", referee.source.answers["mean"])
    before = descendants()
    one(referee, "mean", referee.source.answers["mean"])
    sleeps = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
    one(referee, "shift", sleeps + "def shift(comm, x, by): return x")
    for _ in range(200):                                            # processes that are just ending
        if descendants() <= before:
            break
        os.sched_yield()
    assert len(descendants()) <= len(before)


def test_ranks_end_with_their_keeper_even_when_frozen(referee: LabReferee) -> None:
    from hpml.referee.crew import Crew
    with Crew(referee, referee.declared["mean"], [("mean", "def mean(x): return x")], "mean") as team:
        world = team.world(2)
        assert all(jail.state(w.pid) == "T" for w in world.workers)
        ends = [os.pidfd_open(w.pid) for w in world.workers]
        os.kill(world.keeper.pid, signal.SIGKILL)
        for end in ends:
            assert select.select([end], [], [], 20)[0]
            os.close(end)


def test_a_ceilings_rank_knows_its_place_but_no_other(referee: LabReferee) -> None:
    from hpml.referee.crew import Crew
    declared = dataclasses.replace(referee.declared["mean"], seconds=20.0)
    source = ("import os\nimport numpy as np\nimport horovod.tensorflow as hvd\n"
              "def place(x): return np.array([hvd.rank(), hvd.size(), int(os.environ['HPML_RANK']), int(os.environ['HPML_RANKS'])])")
    with Crew(referee, declared, [("place", source)], "place", trusted=True, alone=True) as team:
        world = team.world(2)
        told = world.call(declared, {"ranks": 2}, (PerRank([np.zeros(1), np.ones(1)]),))
        got = [np.frombuffer(w.read(t["address"], 32), np.int64).tolist() for w, t in zip(world.workers, told, strict=True)]
    assert got == [[0, 1, 0, 2], [0, 1, 1, 2]]


# ------------------------------------------------------------------------- cheats, and honest but unusual answers; see test_cheats.py


@pytest.mark.parametrize("answer", corpus(FOLDER / "ranks"))
def test_cheating_does_not_pay(answer: Answer, referee: LabReferee) -> None:
    if answer.header.get("needs") == "jail" and referee.backend == "none":
        pytest.skip("this holds in a jail only")
    name = answer.header["exercise"]
    verdict = one(referee, name, answer.source)
    assert str(verdict.outcome) in answer.words("outcome") and verdict.score == 0, said(verdict)
    assert answer.header.get("shows", "") in said(verdict), said(verdict)
    assert one(referee, "shift", referee.source.answers["shift"]).passed                # the referee lives on


@pytest.mark.parametrize("answer", corpus(FOLDER / "ranks" / "honest"))
def test_honest_answers_earn_full_marks(answer: Answer, referee: LabReferee) -> None:
    verdict = one(referee, answer.header["exercise"], answer.source)
    assert verdict.passed and verdict.score == verdict.max_score, said(verdict) + verdict.output


# ---------------------------------------------------------------------------------------------------------- the contract


def test_values_per_rank_survive_the_way_to_the_oracle(referee: LabReferee) -> None:
    value = (PerRank([np.arange(3), np.arange(2)]), 7, PerRank(["a", "b"]))
    description, chunks = arrays.pack(value)
    back, rest = arrays.unpack(description, memoryview(b"".join(chunks)))
    assert [v.tolist() for v in back[0].values] == [[0, 1, 2], [0, 1]] and back[1:] == (7, PerRank(["a", "b"])) and not rest
    assert on_rank(back[0], 1).tolist() == [0, 1] and on_rank(7, 1) == 7
    x = PerRank([np.float32([1]), np.float32([2]), np.float32([3])])
    shifted = referee.oracle.expect("shift", [(x, 1)])[0]
    assert isinstance(referee.oracle, Oracle) and [v.tolist() for v in shifted.values] == [[3], [1], [2]]


@pytest.mark.parametrize(("changes", "says"), [
    ({"world": "simulted"}, "has world='simulted'"),
    ({"world": "horovod", "network": lambda size: None}, "has a network, which only simulated ranks have"),
    ({"world": "", "counters": lambda size: {}}, "so it needs a world"),
    ({"sizes": [{"n": 3}]}, "each of its sizes needs `ranks`"),
    ({"hidden": [{"ranks": 65}]}, "each of its sizes needs `ranks`, 1 to 64"),
    ({"view": True}, "views and peak memory are not checked"),
])
def test_a_declaration_that_does_not_fit_is_refused(referee: LabReferee, monkeypatch: pytest.MonkeyPatch, changes: dict, says: str) -> None:
    module = exercise.load_module(referee.lab)
    module.EXERCISES["ring"] = dataclasses.replace(module.EXERCISES["ring"], **changes)
    monkeypatch.setattr(exercise, "load_module", lambda lab: module)
    with pytest.raises(CourseError, match="01-ranks: 'ring' .*") as refused:
        exercise.load(referee.lab)
    assert says in str(refused.value)


def test_an_efficiency_needs_ranks_that_run_at_once(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    module = exercise.load_module(referee.lab)
    module.EXERCISES["train"] = dataclasses.replace(module.EXERCISES["train"], world="simulated")
    monkeypatch.setattr(exercise, "load_module", lambda lab: module)
    with pytest.raises(CourseError, match="needs world='horovod' in exercises.py"):
        exercise.load(referee.lab)


def test_an_efficiency_in_the_manifest() -> None:
    text = (RANKS / "course.yml").read_text()
    target = course.parse(text).lab("01").exercises["train"].targets["efficiency"]
    assert (target.versus, target.start, target.full) == ("independent_copies", 0.3, 0.6)
    with pytest.raises(CourseError, match=r"course.yml:18: unknown key 'eficiency' \(did you mean 'efficiency'\?\)"):
        course.parse(text.replace("efficiency:", "eficiency:"))


def test_a_counter_that_a_world_does_not_keep_is_the_courses_fault(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(referee.declared, "ring", dataclasses.replace(referee.declared["ring"], counters=lambda size: {"mesages": 3}))
    verdict = one(referee, "ring", referee.source.answers["ring"])
    assert verdict.outcome is Outcome.INFRASTRUCTURE and "budgets for mesages" in verdict.message
