"""The referee on a small lab: every outcome that an answer can have, through real workers."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpml import course, measure
from hpml.exercise import Case, Work
from hpml.referee import answers, resources, timing
from hpml.referee.jail import Forked
from hpml.referee.judge import judge
from hpml.referee.oracle import OracleError
from hpml.referee.resources import LabReferee
from hpml.verdict import Measured, Outcome, Verdict


@pytest.fixture(scope="module")
def referee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabReferee]:
    from conftest import TINY, use_course
    with pytest.MonkeyPatch.context() as patch, use_course(TINY, tmp_path_factory.mktemp("cache"), patch):
        referee = LabReferee("01-tiny", "grade")
        yield referee
        referee.close()


def one(referee: LabReferee, name: str, source: str, **others: str) -> Verdict:
    return judge(referee, referee.source.answers | others | {name: source}, [name], seed=1)[0]


def test_the_solution_earns_full_marks_and_the_stub_none(referee: LabReferee) -> None:
    solved = judge(referee, referee.source.answers)
    assert [v.outcome for v in solved] == [Outcome.PASS] * 5, [v.message for v in solved]
    assert sum(v.score for v in solved) == sum(e.points for e in referee.lab.exercises.values() if e.kind != "manual")
    total = solved[3]
    measured = total.measured[0]
    assert measured.low <= measured.ratio <= measured.high and len(measured.samples) >= timing.LEAST_PAIRS
    assert total.roofline and 0 < total.roofline.fraction_of_peak < 1
    assert 0 <= solved[4].counters["peak_bytes"] < 64e6
    for v in judge(referee, referee.source.stubs):
        assert v.outcome is Outcome.NOT_ATTEMPTED and v.score == 0 and v.message


@pytest.mark.parametrize(("source", "outcome", "says"), [
    ("def double(x): return 3 * x", "wrong", "First difference at output [0]"),
    ("def double(x): return x * 2.0 + 0 * x.astype('float64')", "wrong", "returned float64; expected float32"),
    ("def double(x): return (2 * x)[None]", "wrong", "returned shape (1, 4); expected (4,)"),
    ("def double(x): return 2 * x * float('nan')", "wrong", "holds NaN"),
    ("def double(x): pass", "wrong", "returned None"),
    ("def double(x): return list(2 * x)", "wrong", "returned a list"),
    ("def double(x): return x[99]", "wrong", "raised IndexError in line 1, `def double(x): return x[99]`"),
    ("def double(x):\n    x *= 2\n    return x.copy()", "wrong", "changes its argument"),
    ("def double(x): return twice(x)", "wrong", "uses `twice`"),
    ("def double(x): return 2 * x if len(x) < 30 else x", "wrong", "on input that is not shown: n=33"),
    ("def double(x): return 2 * top(x)", "wrong", "`top` in line 1, `def double(x): return 2 * top(x)`, which is another exercise"),
    ("def double(x): raise NotImplementedError()", "not attempted", "still open"),
    ("def double(x):", "malformed", "Python cannot read the cell"),
    ("!ls\ndef double(x): return 2 * x", "malformed", "shell line"),
    ("def dubble(x): return 2 * x", "malformed", "no longer defines `double`"),
    ("", "malformed", "no longer defines `double`"),
    ("def double(x):\n    while True: pass", "timeout", "did not finish within 1 s"),
    ("while True: pass\ndef double(x): return x", "timeout", "did not finish"),
    ("import os\ndef double(x): os._exit(0)", "crashed", "exit status 0"),
    ("import os\nos._exit(0)", "crashed", "ended its process"),
    ("import sys\ndef double(x): sys.exit()", "crashed", "SystemExit"),
    ("def double(x):\n    while True: print('flood' * 999)", "crashed", "printed more than 8 MB"),
    ("def double(x): return bytearray(1 << 40)", "out of memory", "more memory than a check allows"),
    ("import os\ndef double(x):\n    for fd in range(3, 1024):\n        try: os.write(fd, b'HPM1' * 99)\n        except OSError: pass",
     "tampered", "interfered with the referee"),
    ("class A:\n    def __eq__(self, o): return True\ndef double(x): return A()", "wrong", "returned an A"),
    ("import time\ntime.perf_counter = lambda: 0\ndef double(x): return 2 * x", "pass", "is right"),
])
def test_every_answer_ends_in_its_named_outcome(referee: LabReferee, source: str, outcome: str, says: str) -> None:
    verdict = one(referee, "double", source)
    assert (str(verdict.outcome), says in verdict.message) == (outcome, True), verdict.message
    assert verdict.score == (2 if outcome == "pass" else 0)
    assert not verdict.outcome.pending


def test_a_hint_gives_the_idea(referee: LabReferee) -> None:
    assert one(referee, "double", "def double(x): return 3 * x").hint == "That is thrice."
    assert one(referee, "double", "def double(x): return 5 * x").hint is None


def test_what_was_printed_comes_back(referee: LabReferee) -> None:
    assert "hello <b>" in one(referee, "double", "def double(x):\n    print('hello <b>')\n    return 2 * x").output


def test_a_copy_is_not_a_view(referee: LabReferee) -> None:
    verdict = one(referee, "top", "def top(x): return x[:len(x) // 2].copy()")
    assert verdict.outcome is Outcome.WRONG and "returned a copy" in verdict.message


def test_a_used_exercise_that_is_wrong_is_stood_in_for(referee: LabReferee) -> None:
    verdict = one(referee, "total", referee.source.answers["total"], double="def double(x): return 7 * x")
    assert verdict.passed and "ours stood in" in verdict.notes[0]


def test_a_missing_cell_is_malformed_when_grading_and_open_at_the_desk(referee: LabReferee) -> None:
    assert judge(referee, {}, ["double"])[0].outcome is Outcome.MALFORMED
    referee.purpose = "desk"
    try:
        assert judge(referee, {}, ["double"])[0].outcome is Outcome.NOT_ATTEMPTED
    finally:
        referee.purpose = "grade"


def test_right_but_slow_earns_the_points_for_right(referee: LabReferee) -> None:
    verdict = one(referee, "total", "def total(x):\n    s = 0.0\n    for v in x.tolist():\n        s += 2 * v\n"
                                    "    return np.array([s], np.float32)")
    assert verdict.outcome is Outcome.PARTIAL and verdict.score == 1 and verdict.measured[0].credit == 0


def test_too_much_memory_is_counted_from_outside(referee: LabReferee) -> None:
    verdict = one(referee, "frugal", "def frugal(x):\n    y = np.ones((8, len(x)), np.float32) * x\n"
                                     "    return (y[:1] ** 2).sum(keepdims=True)[0]")
    assert verdict.outcome is Outcome.WRONG and "the budget is 64 MB" in verdict.message
    assert verdict.counters["peak_bytes"] > 100e6


@pytest.mark.parametrize("trick", [
    "_last = []\ndef total(x):\n    if not _last: _last.append(double(x).sum(keepdims=True))\n    return _last[0]",
    "import threading\ndef total(x):\n    y = np.zeros(1, np.float32)\n"
    "    threading.Thread(target=lambda: np.copyto(y, sum((2 * v for v in x.tolist()), 0.0))).start()\n    return y",
])
def test_tricks_with_time_do_not_pay(referee: LabReferee, trick: str) -> None:
    verdict = one(referee, "total", trick)
    assert verdict.outcome in (Outcome.WRONG, Outcome.PARTIAL) and not any(m.credit for m in verdict.measured)
    assert verdict.score <= referee.lab.exercises["total"].correct_points


def test_other_processes_are_refused_with_a_sentence(referee: LabReferee) -> None:
    verdict = one(referee, "total", "import os\ndef total(x):\n    os.fork()\n    return double(x).sum(keepdims=True)")
    assert verdict.outcome is Outcome.WRONG and "raised PermissionError in line 3, `os.fork()`" in verdict.message


@pytest.mark.parametrize(("said", "outcome", "score"), [
    ('predict("guess", 2.1)', "pass", 1), ('predict("guess", 1.7)', "partial", 0.5), ('predict("guess", 1 + 8)', "wrong", 0),
    ('predict("guess", ...)', "not attempted", 0), ('predict("guess")', "not attempted", 0),
    ('predict("guess", "two")', "wrong", 0), ('predict("guess", float("nan"))', "wrong", 0), ('x = 2', "not attempted", 0)])
def test_predictions(referee: LabReferee, said: str, outcome: str, score: float) -> None:
    verdict = one(referee, "guess", said)
    assert (str(verdict.outcome), verdict.score) == (outcome, score), verdict.message


def test_unknown_exercises_are_refused(referee: LabReferee) -> None:
    with pytest.raises(course.CourseError, match="did you mean 'double'"):
        judge(referee, {}, ["duble"])


def test_a_broken_oracle_is_never_the_students_zero(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, calls: list) -> list:
        from hpml.referee.oracle import OracleError
        raise OracleError("out of order")
    monkeypatch.setattr(referee.oracle, "expect", broken)
    verdict = one(referee, "double", "def double(x): return 2 * x")
    assert verdict.outcome is Outcome.INFRASTRUCTURE and verdict.outcome.pending and "not your fault" in verdict.message


def test_an_unclear_measurement_is_pending(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "too_noisy", lambda *a: True)
    verdict = one(referee, "total", referee.source.answers["total"])
    assert verdict.outcome is Outcome.TOO_NOISY and verdict.outcome.pending and "too noisy to decide" in verdict.notes[-1]


def test_no_worker_outlives_a_verdict(referee: LabReferee) -> None:
    def mine() -> set[str]:
        return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
    before = mine()
    one(referee, "double", "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\ndef double(x): return 2 * x")
    assert mine() <= before


def test_a_frameworks_kernel_is_not_an_answer(referee: LabReferee, tmp_path: Path) -> None:
    verdict = one(referee, "double", "def double(x):\n    import tensorflow as tf\n    return tf.constant(2 * x).numpy()")
    assert verdict.outcome in (Outcome.WRONG, Outcome.TIMEOUT)          # the import alone takes longer than this exercise may
    slow = one(referee, "total", "import tensorflow as tf\ndef total(x): return double(x).sum(keepdims=True)")
    assert slow.outcome is Outcome.WRONG and "loads tensorflow" in slow.message


def test_a_broken_baseline_is_never_the_students_fault(referee: LabReferee) -> None:
    solution = referee.source.answers["total"]
    assert one(referee, "total", solution).passed
    os.kill(referee.baselines["total", "python_sum"].worker.pid, signal.SIGKILL)
    verdict = one(referee, "total", solution)
    assert verdict.outcome is Outcome.INFRASTRUCTURE and "not your fault" in verdict.message
    assert one(referee, "total", solution).passed                           # and a new one is started


@pytest.mark.parametrize("busy", [True, False])
def test_too_slow_by_the_clock_on_the_wall_while_others_compute(referee: LabReferee, monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    from hpml.referee.judge import Others
    monkeypatch.setattr(Others, "busy", lambda self: busy)
    monkeypatch.setitem(referee.declared, "total", dataclasses.replace(referee.declared["total"], timing="wall"))
    slow = "def total(x):\n    while len(x) > 9999: pass\n    return double(x).sum(keepdims=True)"
    verdict = one(referee, "total", slow)
    assert verdict.outcome is (Outcome.TOO_NOISY if busy else Outcome.TIMEOUT), verdict.message


def test_a_close_answer_is_measured_twice_and_the_better_counts(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[float] = []

    def pairs(student: timing.Series, baseline: timing.Series, target: course.Target, kind: str, rng: object) -> tuple[Measured, bool]:
        low = target.full * (0.97 if not runs else 1.02)
        runs.append(low)
        credit = measure.credit(low, target.start, target.full)
        return Measured(target=kind, versus=target.versus, start=target.start, full=target.full, ratio=low * 1.01, low=low, high=low * 1.02,
                        credit=credit, samples=[(1.0, low)]), False
    monkeypatch.setattr(timing, "pairs", pairs)
    verdict = one(referee, "total", referee.source.answers["total"])
    assert len(runs) == 2 and verdict.passed and verdict.measured[0].low == runs[1]
    assert "measured twice" in verdict.notes[0] and len(verdict.evidence["measured_twice"]) == 1
    one(referee, "total", referee.source.answers["total"])
    assert len(runs) == 3                                                  # clear at once


def test_a_time_below_the_roofline_is_measured_again_and_flagged(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    floors = iter([1e15, 1.0, 1e15, 1e15])                                  # the work that the exercise is said to be, at each look

    monkeypatch.setitem(referee.declared, "total",
                        dataclasses.replace(referee.declared["total"], work=lambda size: Work(flops=next(floors), bytes=1.0)))
    mended = one(referee, "total", referee.source.answers["total"])
    assert mended.passed and "below_floor" not in mended.evidence and "measured again" in mended.notes[0]
    flagged = one(referee, "total", referee.source.answers["total"])
    assert flagged.score == flagged.max_score, "never an automatic zero"
    assert flagged.evidence["below_floor"] < 0.5 and any("a person will look" in note for note in flagged.notes)


def test_an_unsteady_machine_is_not_trusted(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referee, "kept", None)
    monkeypatch.setattr(measure, "steady", lambda logs: False)
    verdict = one(referee, "total", referee.source.answers["total"])
    assert verdict.outcome is Outcome.TOO_NOISY and not verdict.measured


def test_the_control_is_repeated_when_others_come_or_go(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "steady", lambda logs: True)
    load = [0.0]
    monkeypatch.setattr(referee.others, "load", lambda: load[0])
    monkeypatch.setattr(referee, "kept", None)
    first = referee.control()
    assert referee.control() is first
    load[0] = 1.4
    assert referee.control() is not first
    monkeypatch.setattr(resources, "CONTROL_SECONDS", -1.0)
    assert referee.control() is not referee.control()


class Dice:
    """A series whose results are right from the `lucky`-th call on."""

    def __init__(self, lucky: int, imprecise: bool = False) -> None:
        self.lucky, self.calls, self.imprecise = lucky, 0, imprecise

    def fresh(self, calls):
        return [(self.calls,)]

    def checked(self, inputs):
        from hpml.referee.compare import Problem
        from hpml.referee.timing import Rejected

        self.calls += 1
        if self.calls < self.lucky:
            raise Rejected(Problem(f"unlucky {self.calls}", imprecise=self.imprecise), inputs[0], None)
        return 0.1, ["right"]


def test_training_passes_at_the_first_lucky_seed_of_three() -> None:
    from hpml.referee.answers import Answers
    from hpml.referee.timing import Rejected

    assert Answers._first_right(Dice(1), 1) == ([(0,)], ["right"])
    assert Answers._first_right(Dice(3), 3) == ([(2,)], ["right"])
    for lucky, tries in ((2, 1), (4, 3)):
        dice = Dice(lucky)
        with pytest.raises(Rejected, match=f"unlucky {tries}"):
            Answers._first_right(dice, tries)
        assert dice.calls == tries


def test_two_more_inputs_decide_where_only_the_last_digits_are_wrong() -> None:
    from hpml.referee.answers import Answers
    from hpml.referee.timing import Rejected

    assert Answers._first_right(Dice(3, imprecise=True), 1) == ([(2,)], ["right"])
    dice = Dice(99, imprecise=True)
    with pytest.raises(Rejected, match="unlucky 3"):                # half precision is found out all the same
        Answers._first_right(dice, 1)


def test_a_sentence_from_accepts_says_why_not() -> None:
    import numpy as np

    from hpml.exercise import Exercise
    from hpml.referee.timing import Series

    def series(found):
        declared = Exercise(sample=lambda rng, size: (), oracle=lambda: None, sizes=(), accepts=lambda case: found)
        return Series(None, declared, "train", {}, np.random.default_rng(0), lambda calls: [])
    here, there, longer = np.zeros(2), np.ones(2), np.ones(3)
    assert series("too little")._also_right((), here, there) == "too little"
    assert series(True)._also_right((), here, there) is True and series(np.bool_(True))._also_right((), here, there) is True
    assert series(False)._also_right((), here, there) is False
    assert series("asked only where the shape is right")._also_right((), longer, there) is False


def test_right_answers_share_their_picture_and_the_last_ones_are_kept(referee: LabReferee, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draw(name: str, case: Case) -> str:
        drawn.append(str(case.got))
        return f"<svg>{case.got}</svg>"

    monkeypatch.setitem(referee.declared, "double", dataclasses.replace(referee.declared["double"], draw=lambda case: None))
    monkeypatch.setattr(referee.oracle, "draw", draw)
    monkeypatch.setattr(referee, "pictures", {})
    monkeypatch.setattr(answers, "PICTURES", 2)
    first, second = one(referee, "double", "def double(x): return 2 * x"), one(referee, "double", "def double(x): return x + x")
    assert first.picture and first.picture == second.picture == f"<svg>{drawn[0]}</svg>" and len(drawn) == 1
    wrong = {one(referee, "double", f"def double(x): return {n} * x").picture for n in (3, 4, 5)}
    assert len(wrong) == 3 and first.picture not in wrong and len(drawn) == 4 and len(referee.pictures) == 2


def test_a_worker_that_is_not_measured_is_forked_and_measuring_waits_until_all_is_warm(referee: LabReferee) -> None:
    with referee.worker(quick=True) as quick, referee.worker() as cold:
        assert isinstance(quick.process, Forked) and not isinstance(cold.process, Forked)
    parent = referee.parent(("numpy", "json"), wait=False)
    referee.settle()
    assert parent._is_ready and referee.parent(("numpy", "json")) is parent
    with pytest.raises(OracleError, match="No module named 'nonsense'"):
        referee.parent(("nonsense",))
    referee.parent(("nonsense",), wait=False)
    with pytest.raises(OracleError, match="No module named 'nonsense'"):
        referee.settle()
    assert not any("nonsense" in preload for preload, *_ in referee.parents)
