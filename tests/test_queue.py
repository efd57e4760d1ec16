"""The queue for checks that another machine measures: its line, and real engines behind it."""
# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from queue_here import NAME, RIGHT, WAIT, Stand, ended, opened, queue, stand  # noqa: F401
from slurm_here import cluster as slurm  # noqa: F401

from hpml import cli, course
from hpml.course import CourseError
from hpml.grade import cluster
from hpml.grade import jobs as work
from hpml.grade.jobs import Fault
from hpml.hub import checks
from hpml.hub import queue as line
from hpml.hub.queue import Queue, Refused
from hpml.referee import jail
from hpml.referee import queue as client
from hpml.referee.client import RefereeError
from hpml.verdict import Outcome, Verdict

# --------------------------------------------------------------------------------------------------------------------- the line


def test_first_come_first_served_and_everybody_knows_their_place(queue: Queue, stand: Stand) -> None:
    stand.go.clear()
    tickets = [queue.put(name, NAME, RIGHT, ["double"]) for name in ("ada", "ben", "cem", "dee")]
    assert stand.begun.acquire(timeout=WAIT)
    assert [queue.before(t) for t in tickets] == [0, 1, 2, 3]
    queue.withdraw(tickets[1])
    assert [queue.before(t) for t in tickets] == [0, 0, 1, 2] and stand.withdrawn == []
    stand.go.set()
    ended(tickets[0], *tickets[2:])
    assert [job.student for job in stand.jobs] == ["ada", "cem", "dee"] and tickets[1].verdicts is None
    assert tickets[0].verdicts and tickets[0].verdicts[0].outcome is Outcome.PASS


def test_one_check_a_person_until_it_has_ended(queue: Queue, stand: Stand) -> None:
    stand.go.clear()
    first = queue.put("ada", NAME, RIGHT, ["double"])
    queue.put("ben", NAME, RIGHT, ["double"])
    with pytest.raises(Refused, match="One at a time"):
        queue.put("ada", NAME, RIGHT, ["double"])
    assert stand.begun.acquire(timeout=WAIT)
    queue.withdraw(first)                                   # the engine has it, and is asked to give it back
    assert stand.withdrawn == ["ada"]
    with pytest.raises(Refused, match="just ending"):
        queue.put("ada", NAME, RIGHT, ["double"])
    stand.go.set()
    ended(first)
    ended(queue.put("ada", NAME, RIGHT, ["double"]))


def test_not_too_many_in_a_while(tiny: course.Lab, stand: Stand) -> None:
    now = [0.0]
    queue = Queue(lambda: stand, clock=lambda: now[0])      # type: ignore[arg-type, return-value]
    try:
        for _ in range(line.RATE):
            ended(queue.put("ada", NAME, RIGHT, ["double"]))
        now[0] = line.RATE_SECONDS - 61
        with pytest.raises(Refused, match=f"{line.RATE} checks .* possible in 2 min"):
            queue.put("ada", NAME, RIGHT, ["double"])
        ended(queue.put("ben", NAME, RIGHT, ["double"]))
        now[0] = line.RATE_SECONDS
        ended(queue.put("ada", NAME, RIGHT, ["double"]))
    finally:
        queue.close()


def test_the_line_is_only_so_long(queue: Queue, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "MOST_WAITING", 2)
    stand.go.clear()
    queue.put("s0", NAME, RIGHT, ["double"])
    assert stand.begun.acquire(timeout=WAIT)
    for name in ("s1", "s2"):
        queue.put(name, NAME, RIGHT, ["double"])
    with pytest.raises(Refused, match="takes no more"):
        queue.put("s3", NAME, RIGHT, ["double"])


@pytest.mark.parametrize(("lab", "name", "says"), [("01-tinny", "double", "did you mean"), (NAME, "duble", "did you mean 'double'"),
                                                   (NAME, "why", "no exercise 'why'")])
def test_only_what_can_be_checked(queue: Queue, stand: Stand, lab: str, name: str, says: str) -> None:
    with pytest.raises(CourseError, match=says):
        queue.put("ada", lab, RIGHT, [name])
    assert not stand.jobs and not queue.handed and not queue.waiting


def test_measured_ones_take_the_node_and_verdicts_come_in_order(queue: Queue, stand: Stand) -> None:
    ticket = queue.put("ada", NAME, {"top": "# wrong", "no_exercise": "x"}, ["total", "top"])
    ended(ticket)
    assert [(j.exercises, j.alone) for j in stand.jobs] == [(["top"], False), (["total"], True)]
    assert all(j.answers == {"top": "# wrong"} for j in stand.jobs)
    assert [(v.exercise, str(v.outcome)) for v in ticket.verdicts or ()] == [("total", "pass"), ("top", "wrong")]


@pytest.mark.parametrize(("error", "says"), [(Fault("No room."), "No room"), (work.NoJail("No jail."), "No jail"),
                                             (KeyError("x"), "tell your")])
def test_what_goes_wrong_is_said_and_the_next_is_checked(queue: Queue, stand: Stand, error: Exception, says: str) -> None:
    stand.error = error
    ended(first := queue.put("ada", NAME, RIGHT, ["double"]))
    assert first.error and says in first.error and "not your fault" in first.error
    stand.error = None
    ended(second := queue.put("ada", NAME, RIGHT, ["double"]))
    assert second.verdicts and not stand.closed


def test_a_scheduler_that_is_gone_is_replaced(queue: Queue, stand: Stand) -> None:
    stand.error = work.Stopped("The scheduler is gone.")
    ended(queue.put("ada", NAME, RIGHT, ["double"]))
    assert stand.closed == 1 and queue.engine is None
    stand.error = None
    ended(second := queue.put("ada", NAME, RIGHT, ["double"]))
    assert second.verdicts


def test_nodes_that_nobody_uses_are_given_back(tiny: course.Lab) -> None:
    given = threading.Event()
    stands: list[Stand] = []

    def start() -> Any:
        stands.append(Stand())
        stands[-1].close = given.set        # type: ignore[method-assign]
        return stands[-1]

    queue = Queue(start, idle=0.01)
    try:
        assert not queue.nodes() and not given.wait(0.05)           # nothing is started before somebody asks
        ended(first := queue.put("ada", NAME, RIGHT, ["double"]))
        assert first.verdicts and given.wait(WAIT)
        ended(second := queue.put("ada", NAME, RIGHT, ["double"]))
        assert second.verdicts and len(stands) == 2
    finally:
        queue.close()


# ------------------------------------------------------------------------------------------------------------------ real engines


def test_through_a_dask_scheduler(tiny: course.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in other processes, with the referee itself; one check is taken back before there is a worker."""
    if problem := jail.bubblewrap_problem():
        pytest.skip(problem)
    import dask
    from distributed import LocalCluster
    from distributed.security import Security
    keys = Security.temporary()
    paths = {"ca-file": tmp_path / "ca.pem", "client.cert": tmp_path / "cert.pem", "client.key": tmp_path / "key.pem"}
    for path, text in zip(paths.values(), (keys.tls_ca_file, keys.tls_client_cert, keys.tls_client_key), strict=True):
        path.write_text(text)
    with dask.config.set({f"distributed.comm.tls.{name}": str(path) for name, path in paths.items()}), \
            LocalCluster(n_workers=0, threads_per_worker=1, resources={"node": 1}, dashboard_address="127.0.0.1:0", host="127.0.0.1",
                         protocol="tls://", security=keys, silence_logs=50) as daemons:
        assert daemons.scheduler_address.startswith("tls://")
        queue = Queue(checks.starter(daemons.scheduler_address))
        try:
            with opened(queue) as address:
                monkeypatch.setenv("HPML_QUEUE", address)
                monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "ada")

                def waits(stands: str) -> None:
                    if isinstance(queue.engine, cluster.Cluster) and queue.engine.running:
                        assert stands == "you are next, waiting for a node"
                        raise KeyboardInterrupt

                monkeypatch.setattr(checks, "BEAT_SECONDS", 0.0)
                with pytest.raises(KeyboardInterrupt):
                    client.judge(NAME, RIGHT, ["double"], waits)
                daemons.scale(1)
                for answer, outcome in ((RIGHT["double"], "pass"), ("def double(x): return x", "wrong")):
                    verdict = again(lambda source=answer: client.judge(NAME, {"double": source}, ["double"], lambda stands: None))[0]
                    assert str(verdict.outcome) == outcome and verdict.evidence["purpose"] == "desk" and "signature" not in verdict.evidence
        finally:
            queue.close()


@pytest.mark.parametrize(("where", "says"), [("tcp://127.0.0.1:8786", "without TLS runs what anybody sends"),
                                             ("slurmm", "no engine 'slurmm'")])
def test_an_engine_that_cannot_be_beside_students(where: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CourseError, match=says):
        checks.starter(where)
    assert checks.main(["--engine", where, "--port", "0"]) == 1
    assert cli.main(["hub", "--queue", where]) == 1
    assert capsys.readouterr().err.count(says) == 2


def again(ask: Callable[[], list[Verdict]]) -> list[Verdict]:
    """Ask until the check that was taken back has ended."""
    pause = threading.Event()
    for _ in range(int(WAIT / 0.1)):
        try:
            return ask()
        except RefereeError as e:
            assert "just ending" in str(e)
            pause.wait(0.1)
    pytest.fail("it does not end")


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_through_slurm(slurm: Path, tiny: course.Lab) -> None:
    """A node comes for the first check, and goes back to the cluster when nobody asks."""
    import subprocess
    if problem := jail.bubblewrap_problem():
        pytest.skip(problem)
    queue = Queue(checks.starter("slurm"))

    def jobs() -> list[str]:
        return subprocess.run(["squeue", "--noheader", "--format=%j"], capture_output=True, text=True, check=True).stdout.split()

    try:
        assert jobs() == []
        ticket = queue.put("ada", NAME, RIGHT, ["double"])
        pause = threading.Event()
        for _ in range(300):
            if ticket.verdicts is not None or ticket.error is not None:
                break
            pause.wait(1)
        assert ticket.verdicts and ticket.verdicts[0].passed, ticket.error
        assert "hpml-grade" in jobs()
    finally:
        queue.close()
    for _ in range(60):                                     # Slurm takes a moment to end them
        if not jobs():
            return
        pause.wait(1)
    pytest.fail("the nodes were not given back")
