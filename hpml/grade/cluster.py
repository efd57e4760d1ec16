"""Engines on other machines: a running Dask scheduler, or Slurm through dask-jobqueue.

A Dask worker is a node: it should have as many threads as it may run jobs side by side, and the resource `node=1`, which a measured
job takes. What goes out is the text of a job, what comes back the text of its verdicts; both ends have the course's package and the
lab. Dask replaces workers that die, and gives their jobs to others.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hpml import course, exercise
from hpml.check import cache
from hpml.course import CourseError
from hpml.grade import engine
from hpml.grade.jobs import Engine, Fault, Job, NoJail, Result, Stopped
from hpml.referee.client import Purpose
from hpml.verdict import Verdict

TIMEOUT = 20.0                  # seconds for a scheduler to answer
AHEAD = 3                       # jobs that are handed to the scheduler for each thread of the workers
LOOK_SECONDS = 15.0             # between two looks whether there still are workers


@functools.cache
def _node(purpose: Purpose) -> engine.Node:
    """The referees of this worker."""
    from distributed import get_worker
    node = engine.Node(get_worker().state.nthreads, functools.partial(engine.referee, purpose=purpose))
    atexit.register(node.close)
    return node


_one_at_a_time = threading.Lock()


def work(text: str, unjailed: bool = False, purpose: Purpose = "grade") -> str:
    """On a worker: a job's text → {"verdicts": [...]}, {"outputs": {...}} or {"fault": sentence, "jail": whether that is why}."""
    from hpml.grade import guarded
    try:
        if not unjailed:
            guarded()
        with _one_at_a_time:
            node = _node(purpose)
        found = node.do(Job(**json.loads(text)))
        return json.dumps({"verdicts": [v.model_dump(mode="json") for v in found]} if isinstance(found, list) else {"outputs": found})
    except (Fault, CourseError) as e:
        return json.dumps({"fault": str(e), "jail": isinstance(e, NoJail)})


class Cluster:
    """Jobs on the workers of a Dask scheduler. `owned` is closed with it, last to first."""

    split, measuring = True, False          # nothing is measured where the gradebook is written

    def __init__(self, client: Any, unjailed: bool = False, owned: Iterable[Any] = (),
                 task: Callable[[str, bool], str] = work) -> None:
        self.client, self.unjailed, self.owned, self.task = client, unjailed, [*owned, client], task
        self.running: dict[Any, Job] = {}               # of every `map` that is going on
        print(f"hpml grade: Dask's dashboard: {client.dashboard_link}", file=sys.stderr, flush=True)

    @property
    def workers(self) -> int:
        """Threads of all workers that are there now."""
        return max(1, sum(self.client.nthreads().values()))

    @property
    def there(self) -> bool:
        """Whether there is any worker now."""
        return self.client.status == "running" and bool(self.client.nthreads())

    def _nodes(self) -> bool:
        """Whether there are workers that say what a node is."""
        found = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return any("node" in w.get("resources", {}) for w in found)

    def map(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        from distributed.client import FutureCancelledError
        source, more = iter(jobs), True
        running: dict[Any, Job] = {}
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        told = False
        while more or running:
            while more and len(running) < AHEAD * self.workers:
                if (job := next(source, None)) is None:
                    more = False
                    continue
                needs = {"resources": {"node": 1}} if job.alone and self._nodes() else {}
                future = self.client.submit(self.task, job.text(), self.unjailed, pure=False, priority=0 if job.alone else 1, **needs)
                running[future] = self.running[future] = job
                future.add_done_callback(done.put)
            if not running:
                break
            try:
                future = done.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                if not told and not self.client.nthreads():
                    print("hpml grade: the scheduler has no workers at the moment; waiting for some.", file=sys.stderr, flush=True)
                    told = True
                continue
            job = running.pop(future)
            self.running.pop(future, None)
            try:
                text = future.result()
            except FutureCancelledError:
                raise Stopped("The Dask scheduler is gone, so grading stopped. What was graded is kept; start the scheduler, and run "
                              "the same command again.") from None
            except Exception as e:              # whatever went wrong on a worker, or with it
                yield job, Fault(f"A worker failed: {type(e).__name__}: {str(e)[:300]}.")
                continue
            yield job, _read(json.loads(text), job)

    def withdraw(self, student: str) -> None:
        """Take this student's jobs back, from another thread: the `map` that they belong to raises Stopped."""
        for future, job in list(self.running.items()):
            if job.student == student:
                future.cancel()

    def close(self) -> None:
        for one in reversed(self.owned):
            one.close()


def _read(said: dict[str, Any], job: Job) -> Result:
    """What a worker said. Raises NoJail; a worker with another version of the lab is at fault."""
    if said.get("jail"):
        raise NoJail(f"on a worker: {said['fault']}")
    if "fault" in said:
        return Fault(said["fault"])
    if "outputs" in said:
        outputs: Result = said["outputs"]
        return outputs
    verdicts = [Verdict.model_validate(v) for v in said["verdicts"]]
    ours = exercise.lab_hash(course.load().lab(job.lab))
    if any(v.evidence.get("lab_sha256", ours) != ours for v in verdicts):
        return Fault(f"A worker has another version of {job.lab}; bring the course there up to date.")
    return verdicts


def scheduler(address: str, unjailed: bool = False) -> Engine:
    """A running Dask scheduler. Raises CourseError."""
    from distributed import Client
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as e:          # a TimeoutError is one
        raise CourseError(f"no Dask scheduler answers at {address} ({type(e).__name__}). Start one with `dask scheduler`, and on every "
                          "node: dask worker ADDRESS --nthreads CORES --resources node=1") from None
    found = Cluster(client, unjailed, [])
    if client.nthreads() and not found._nodes():
        print("hpml grade: no worker has the resource `node`; measured jobs wait for each other on their nodes. Better: "
              "dask worker ADDRESS --nthreads CORES --resources node=1", file=sys.stderr, flush=True)
    return found


def jobqueue() -> Any:
    """dask_jobqueue, whose import would have Ctrl-C end this process on the spot. To be called in the main thread first."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def slurm(nodes: int | None = None, unjailed: bool = False) -> Engine:
    """Workers as jobs of Slurm, one a node, as `engine:` in course.yml asks for them. Raises CourseError."""
    from distributed import Client
    from distributed.security import Security
    if shutil.which("sbatch") is None:
        raise CourseError("there is no Slurm here (sbatch not found); without --engine slurm this machine grades by itself")
    wanted = course.load().engine
    folder = cache() / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    private = contextlib.ExitStack()            # the keys of this run lie here
    keys = private.enter_context(tempfile.TemporaryDirectory(prefix="keys-", dir=folder, ignore_cleanup_errors=True))
    kept = {name: value for name, value in os.environ.items() if name.startswith("HPML_")} | {"HPML_ROOT": str(course.ROOT)}
    directives = [*([f"--gpus={wanted.gpus}"] if wanted.gpus else []), *wanted.directives]
    cluster = jobqueue().SLURMCluster(
        queue=wanted.partition, account=wanted.account, cores=wanted.cores, processes=1, memory=wanted.memory, walltime=wanted.time_limit,
        job_name="hpml-grade", job_extra_directives=directives, worker_extra_args=["--resources", "node=1"], python=sys.executable,
        job_script_prologue=[f"export {name}='{value}'" for name, value in kept.items()], interface=wanted.interface,
        log_directory=str(folder), local_directory=tempfile.gettempdir(), shared_temp_directory=keys,
        protocol="tls://", security=Security.temporary())
    for name in ("ca_file", "cert", "key"):         # dask-jobqueue holds them open, and leaves them to the garbage collector
        if held := getattr(cluster, f"_job_{name}", None):
            private.callback(held.close)
    cluster.adapt(minimum_jobs=nodes or wanted.nodes, maximum_jobs=nodes or wanted.nodes)
    return Cluster(Client(cluster, set_as_default=False), unjailed, [private, cluster])
