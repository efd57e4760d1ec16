"""Engines: jobs side by side, measured ones alone, faults tried again; on this machine, and through Dask."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import engine_stand_in
import pytest
from grading import CODE, NAME, Class, empty_book, room  # noqa: F401

from hpml import course, grade
from hpml.grade import cluster, engine, journal
from hpml.grade import jobs as work
from hpml.grade.jobs import Fault, Job, Stopped
from hpml.referee.client import RefereeError
from hpml.verdict import Outcome, Verdict


class FakeReferee:
    """Judges through a function; remembers what ran at the same time."""

    def __init__(self, judge: Callable[[Job], list[Verdict]]) -> None:
        self.judge_, self.closed = judge, False

    def judge(self, lab: str, cells: dict[str, str], exercises: Iterable[str] | None = None, seed: int | None = None) -> list[Verdict]:
        return self.judge_(Job(cells["who"], cells, list(exercises or ()), lab, seed=seed))

    def interrupt(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def passed(job: Job) -> list[Verdict]:
    return [Verdict(lab=NAME, exercise=n, outcome=Outcome.PASS, score=1, max_score=1, message="", jail="bubblewrap") for n in job.exercises]


def jobs(shared: int, alone: int) -> list[Job]:
    made = [Job(f"s{i}", {"who": f"s{i}"}, ["double"], NAME) for i in range(shared)]
    return made + [Job(f"m{i}", {"who": f"m{i}"}, ["total"], NAME, alone=True) for i in range(alone)]


@pytest.fixture
def local(tiny: course.Lab) -> Iterator[Callable[..., engine.Local]]:
    made: list[engine.Local] = []

    def start(judge: Callable[[Job], list[Verdict]], workers: int = 2) -> engine.Local:
        made.append(engine.Local(workers, lambda lane: FakeReferee(judge)))
        return made[-1]
    yield start
    for one in made:
        one.close()


def test_jobs_that_share_run_side_by_side_and_measured_ones_alone(local: Callable[..., engine.Local]) -> None:
    together = threading.Barrier(2, timeout=60)         # nobody passes it alone
    inside: set[str] = set()
    lock = threading.Lock()

    def judge(job: Job) -> list[Verdict]:
        with lock:
            inside.add(job.student)
            measured = [s for s in inside if s.startswith("m")]
            assert not measured or len(inside) == 1, inside
        if job.student.startswith("s"):
            together.wait()
        with lock:
            inside.remove(job.student)
        return passed(job)

    runs = local(judge)
    seen = []
    for job, result in runs.map(jobs(6, 20)):
        assert isinstance(result, list), result
        seen.append(job.student)
    assert sorted(seen) == sorted(j.student for j in jobs(6, 20)) and not runs.measuring


def test_the_writer_is_told_when_not_to_disturb(local: Callable[..., engine.Local]) -> None:
    runs = local(passed, 1)
    told = [(job.alone, runs.measuring) for job, _ in runs.map(jobs(1, 3))]
    assert told == [(False, False), (True, True), (True, True), (True, False)]


def test_jobs_are_taken_from_the_class_as_they_are_needed(local: Callable[..., engine.Local]) -> None:
    taken = 0

    def source() -> Iterator[Job]:
        nonlocal taken
        for job in jobs(500, 0):
            taken += 1
            yield job

    ahead = [taken - done for done, _ in enumerate(local(passed).map(source()))]
    assert len(ahead) == 500 and max(ahead) <= 8


def test_the_gate_lets_many_or_one_in(tiny: course.Lab) -> None:
    free, stopped = threading.Event(), threading.Event()
    stopped.set()                                       # whoever finds it closed does not wait
    with engine.gate(False, free), engine.gate(False, stopped), pytest.raises(Fault), engine.gate(True, stopped):
        pytest.fail("one came in who wanted to be alone")
    with engine.gate(True, free), pytest.raises(Fault), engine.gate(False, stopped):
        pytest.fail("somebody came in beside a measurement")
    with engine.gate(True, stopped):
        program = ("import threading\nfrom hpml.grade import engine\nstop = threading.Event()\nstop.set()\n"
                   "with engine.gate(False, stop): pass")
        holder = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Fault: Grading was stopped." in holder.stderr       # it holds between processes, too


def test_a_referee_that_dies_is_replaced_and_its_job_tried_again(tiny: course.Lab, tmp_path: Path) -> None:
    runs = engine.Local(2, lambda lane: engine_stand_in.Mortal(tmp_path / "count", frozenset({1, 3})))
    todo = [Job(f"s{i}", {"double": f"# {i}"}, ["double"], NAME) for i in range(4)]
    found: dict[str, list[Outcome]] = {}
    try:
        for job, verdicts in work.run(runs, tiny, todo):
            found.setdefault(job.student, []).extend(v.outcome for v in verdicts if isinstance(v, Verdict))
    finally:
        runs.close()
    assert {outcomes[-1] for outcomes in found.values()} == {Outcome.PASS}
    assert sum(outcomes.count(Outcome.INFRASTRUCTURE) for outcomes in found.values()) == 2
    assert (tmp_path / "count").stat().st_size == 6


def test_a_fault_that_stays_is_reported_as_such(local: Callable[..., engine.Local], tiny: course.Lab) -> None:
    asked = []

    def judge(job: Job) -> list[Verdict]:
        asked.append(job.student)
        if job.student == "s1":
            raise RefereeError("The referee stopped.")
        return passed(job)

    results = list(work.run(local(judge, 1), tiny, jobs(3, 0)))
    assert asked == ["s0", "s1", "s2", "s1", "s1", "s1"]
    last = [verdicts for job, verdicts in results if job.student == "s1"][-1]
    assert isinstance(last, list) and last[0].outcome is Outcome.INFRASTRUCTURE and last[0].outcome.pending
    assert "The referee stopped." in last[0].message and "not your fault" in last[0].message


@pytest.mark.parametrize("error", [OSError("No room."), ValueError("half a word")])
def test_whatever_goes_wrong_with_a_referee_is_a_fault(local: Callable[..., engine.Local], tiny: course.Lab, error: Exception) -> None:
    errors = [error]

    def judge(job: Job) -> list[Verdict]:
        if errors:
            raise errors.pop()
        return passed(job)

    runs = local(judge, 1)
    (_, first), (_, second) = runs.map(jobs(2, 0))
    assert isinstance(first, Fault) and str(error) in str(first) and isinstance(second, list)


def test_closing_ends_what_is_going_on(tiny: course.Lab) -> None:
    begun, interrupted = threading.Event(), threading.Event()

    def judge(job: Job) -> list[Verdict]:
        begun.set()
        assert interrupted.wait(60)
        raise RefereeError("The referee stopped.")

    slow = FakeReferee(judge)
    slow.interrupt = interrupted.set            # type: ignore[method-assign]
    runs = engine.Local(1, lambda lane: slow)
    found: list[Any] = []
    consumer = threading.Thread(target=lambda: found.extend(runs.map(jobs(1, 0))))
    consumer.start()
    assert begun.wait(60)
    runs.close()
    consumer.join()
    assert slow.closed and [str(result) for _, result in found] == ["The referee stopped."]


def test_too_noisy_is_tried_once_more(local: Callable[..., engine.Local], tiny: course.Lab) -> None:
    asked = []

    def judge(job: Job) -> list[Verdict]:
        asked.append(job.student)
        return [v.model_copy(update={"outcome": Outcome.TOO_NOISY}) for v in passed(job)]

    list(work.run(local(judge, 1), tiny, jobs(0, 2)))
    assert asked == ["m0", "m1", "m0", "m1"]


def test_nothing_but_faults_stops_the_run(local: Callable[..., engine.Local], tiny: course.Lab) -> None:
    def judge(job: Job) -> list[Verdict]:
        raise RefereeError("It is not there.")

    with pytest.raises(Stopped, match="6 times in a row.*It is not there"):
        list(work.run(local(judge, 2), tiny, jobs(50, 0)))


def test_what_is_timed_goes_alone(tiny: course.Lab) -> None:
    assert work.alone(tiny) == {"total"}
    job = Job("ada", {"double": "x"}, ["double", "total", "top"], NAME, seed=5)
    assert [(j.exercises, j.alone, j.seed) for j in work.split(job, {"total"})] == [(["double", "top"], False, 5), (["total"], True, 5)]
    assert "ada" not in job.text()


def test_a_seed_is_that_of_the_answers_and_a_secret() -> None:
    one = work.seed(b"key", "lab", {"a": "1", "b": "2"})
    assert one == work.seed(b"key", "lab", {"b": "2", "a": "1"}) and 0 <= one < 2**63
    assert len({one, work.seed(b"yek", "lab", {"a": "1", "b": "2"}), work.seed(b"key", "bal", {"a": "1", "b": "2"}),
                work.seed(b"key", "lab", {"a": "1", "b": "3"})}) == 4


# ------------------------------------------------------------------------------------------------------ a class on an engine


def grades(room: Class, runs: Callable[[], Any], students: Iterable[str], **options: Any) -> list[str]:  # noqa: F811
    """Grade on an engine; returns who was seen, in order."""
    seen: list[str] = []
    grading = grade.Grading(room.lab, room.folder, lambda *_: [], engine=runs, **options)
    grading.run(list(students), lambda graded: seen.append(graded.student))
    return seen


def test_a_class_on_the_local_engine(room: Class, tmp_path: Path) -> None:  # noqa: F811
    room.submit("ada", room.solved())
    room.submit("ben", room.solved(double="def double(x): return 0  # wrong"))
    room.submit("cem", b"{")
    count = tmp_path / "count"

    def runs() -> engine.Local:
        return engine.Local(2, lambda lane: engine_stand_in.Mortal(count))

    assert sorted(grades(room, runs, ["ada", "ben", "cem"])) == ["ada", "ben", "cem"]
    assert {s: row["total"] for s, row in room.table().items()} == {"ada": "10", "ben": "8", "cem": "0"}
    asked = count.stat().st_size
    assert asked == 4                                   # two students, each in two parts
    grades(room, runs, ["ada", "ben", "cem"])
    assert count.stat().st_size == asked


def test_the_same_answer_is_judged_once_unless_it_is_measured(room: Class) -> None:  # noqa: F811
    for student in ("ada", "ben"):
        room.submit(student, room.solved())
    room.submit("cem", room.solved(top="def top(x): return x[:len(x) // 2]  # wrong"))
    assert room.grade() == 0
    assert room.judge.asked == [tuple(CODE), ("total",), ("top", "total")]      # total was timed, and is for each of them
    assert room.table()["ben"]["total"] == "10" and room.table()["cem"]["top"] == "0"
    (room.folder / "graded" / NAME / "ada" / "double.json").unlink()            # what it came from is gone
    room.submit("dee", room.solved())
    assert room.grade("--student", "dee") == 0 and room.judge.asked[3:] == [("double", "total")]


def test_what_hangs_on_the_machine_is_not_shared() -> None:
    fine = {"lab": NAME, "exercise": "double", "score": 0.0, "max_score": 1.0, "message": ""}
    assert not any(journal.shareable(Verdict(outcome=o, **fine)) for o in Outcome if o not in journal.CLEAR)      # type: ignore[arg-type]
    assert not journal.shareable(Verdict(outcome=Outcome.PASS, counters={"peak_bytes": 1.0}, **fine))      # type: ignore[arg-type]
    assert journal.shareable(Verdict(outcome=Outcome.WRONG, **fine))      # type: ignore[arg-type]


def test_the_second_instructor_can_wait(room: Class, capfd: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    room.submit("ada", room.solved())
    with journal.lock(room.folder):
        second = threading.Thread(target=room.grade, args=("--wait",))
        second.start()
        while "waiting" not in capfd.readouterr().err:
            second.join(0.01)
            assert second.is_alive()
        assert not room.judge.asked
    second.join()
    assert room.table()["ada"]["total"] == "10"


@pytest.mark.parametrize(("options", "says"), [
    (["--engine", "slurmm"], "there is no engine 'slurmm'"), (["--engine", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
    (["--workers", "0"], "at least one has to work"),
])
def test_an_engine_that_is_not_there(room: Class, options: list[str], says: str, capsys: pytest.CaptureFixture[str],  # noqa: F811
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    room.submit("ada", room.solved())
    assert grade.main([NAME, "--course", str(room.folder), "--unjailed", *options]) in (1, 2)
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


# ------------------------------------------------------------------------------------------------------------------- Dask


def test_a_dask_scheduler_with_two_workers_one_of_which_is_killed(room: Class, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,  # noqa: F811
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    from distributed import LocalCluster
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("ENGINE_FLAG", str(tmp_path / "killed"))
    students = [f"s{i}" for i in range(6)]
    for i, student in enumerate(students):
        room.submit(student, room.solved(double=f"def double(x): return 2 * x + {i} - {i}" + "  # mortal" * (i == 2)))
    with LocalCluster(n_workers=2, threads_per_worker=1, resources={"node": 1}, dashboard_address="127.0.0.1:0", host="127.0.0.1",
                      silence_logs=50) as daemons:
        def runs() -> Any:
            found = cluster.scheduler(daemons.scheduler_address)
            found.task = engine_stand_in.dies_once      # type: ignore[attr-defined]
            return found
        assert sorted(grades(room, runs, students)) == students
    assert (tmp_path / "killed").exists()
    assert {s: row["total"] for s, row in room.table().items()} == dict.fromkeys(students, "10")
    assert "Dask's dashboard: http://127.0.0.1:" in capsys.readouterr().err


def test_the_cluster_in_the_manifest(tiny: course.Lab) -> None:
    assert course.load().engine.model_dump(exclude_defaults=True, exclude={"directives"}) == {
        "partition": "lab", "nodes": 2, "cores": 2, "memory": "900 MB", "time_limit": "00:30:00", "interface": "lo"}
    text = (course.ROOT / "course.yml").read_text(encoding="utf-8").replace("partition:", "partitoin:")
    with pytest.raises(course.CourseError, match="unknown key 'partitoin' .did you mean 'partition'"):
        course.parse(text)


def test_what_a_worker_says(tiny: course.Lab) -> None:
    job = jobs(1, 0)[0]
    verdict = passed(job)[0]
    assert cluster._read({"verdicts": [verdict.model_dump(mode="json")]}, job) == [verdict]
    assert cluster._read({"outputs": {"a": []}}, job) == {"a": []}
    old = verdict.model_copy(update={"evidence": {"lab_sha256": "0123"}})
    for said, why in (({"fault": "No room."}, "No room."), ({"verdicts": [old.model_dump(mode="json")]}, "another version")):
        fault = cluster._read(said, job)                # type: ignore[arg-type]
        assert isinstance(fault, Fault) and why in str(fault)
    with pytest.raises(grade.NoJail, match="on a worker: no jail"):
        cluster._read({"fault": "no jail", "jail": True}, job)


def test_ctrl_c_stays_ours_where_slurm_is_the_engine() -> None:
    script = ("import signal; from hpml.grade import cluster; cluster.jobqueue(); "
              "raise SystemExit(signal.getsignal(signal.SIGINT) is not signal.default_int_handler)")
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
