"""Real processes with mpi4py: the same functions as on paper give the same; what fails is told, and nothing is left running."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from allreduces import gather_broadcast, horovod_sum, ring, tree, two_level

from hpml.distributed import mpi
from hpml.distributed.mpi import MPIError, run_mpi
from hpml.distributed.network import Link, switch
from hpml.distributed.simulation import RankError, simulate


def inputs(ranks: int, length: int) -> list[tuple[np.ndarray]]:
    rng = np.random.default_rng(ranks)
    return [(rng.integers(-1000, 1000, length).astype(np.float32),) for _ in range(ranks)]


def left_over() -> list[str]:
    return [child.name() for child in psutil.Process().children(recursive=True) if child.name().startswith(("mpi", "prte"))]


def test_the_four_allreduces_as_on_paper() -> None:
    """One job for all of them, on 4 processes, with a length that 4 does not divide, and a long one that MPI does not buffer."""
    def all_four(comm: Any, short: np.ndarray, long: np.ndarray) -> list[np.ndarray]:
        return [gather_broadcast(comm, short), tree(comm, short), ring(comm, short), two_level(comm, short, 2), ring(comm, long)]
    pairs = [(a, b) for (a,), (b,) in zip(inputs(4, 1001), inputs(4, 300_001), strict=True)]
    done = run_mpi(all_four, pairs, np=4)
    paper = simulate(all_four, pairs, switch(4, Link(1e-6, 1e-9)))
    for here, there in zip(done.results, paper.results, strict=True):
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(here, there, strict=True))
    assert done.seconds > 0 and left_over() == []


@pytest.mark.slow
@pytest.mark.parametrize("function", [ring, tree])
def test_as_by_horovod(function: Callable[..., Any]) -> None:
    from hpml.distributed import run_ranks
    given = inputs(2, 1001)
    ours = run_mpi(function, given).results
    theirs = run_ranks(horovod_sum, 2, (dict(enumerate(x for (x,) in given)),))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))


def test_source_text_and_what_cannot_run() -> None:
    source = "def helper(k):\n    return k + 1\ndef main(comm, k):\n    return helper(k) * comm.size\ndef after():\n    pass\n"
    assert run_mpi(source, [(3,)]).results == [4]
    with pytest.raises(RankError, match="rank 0 of 1: ValueError: the source defines no function"):
        run_mpi("x = 1", [()])
    with pytest.raises(RankError, match="cannot leave its process"):
        run_mpi(lambda comm: (i for i in range(3)), [()])


@pytest.mark.parametrize(("given", "np_"), [([], None), ([(1,), (2,)], 3)])
def test_inputs_must_fit(given: list[Any], np_: int | None) -> None:
    with pytest.raises(ValueError, match="one tuple"):
        run_mpi(ring, given, np_)


def test_a_rank_that_fails_is_named_and_ends_the_others() -> None:
    def main(comm: Any) -> None:
        if comm.rank == 1:
            raise ZeroDivisionError("by nought")
        comm.Recv(np.zeros(1), 1)
    with pytest.raises(RankError, match="rank 1 of 2: ZeroDivisionError: by nought") as caught:
        run_mpi(main, [(), ()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError) and "line" in caught.value.__cause__.__notes__[0]
    assert left_over() == []


def test_ranks_that_wait_for_one_another_are_ended() -> None:
    def main(comm: Any) -> None:
        comm.Recv(np.zeros(1), 1 - comm.rank)
    with pytest.raises(MPIError, match="the 2 ranks did not end within 5 s.*use Sendrecv") as caught:
        run_mpi(main, [(), ()], timeout=5)
    assert left_over() == [] and caught.value._render_traceback_() == [str(caught.value)]


def test_ranks_end_with_whoever_asked_for_them(tmp_path: Path) -> None:
    """A program that is killed cannot clean up after itself."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not here")
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    source = f"def main(comm):\n    comm.rank or open({str(pipe)!r}, 'w').close()\n    while True:\n        comm.Barrier()\n"
    program = f"from hpml.distributed.mpi import run_mpi\nrun_mpi({source!r}, [(), ()])"
    with subprocess.Popen([sys.executable, "-c", program]) as asking:
        pipe.read_bytes()                                  # until rank 0 has opened it
        family = psutil.Process(asking.pid).children(recursive=True)
        asking.kill()
    assert len(family) >= 3 and psutil.wait_procs(family, timeout=60)[1] == []


def test_without_mpi_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MPIError, match="there is no mpiexec here.*use simulate"):
        run_mpi(ring, inputs(2, 3))


def test_mpi_that_does_not_start_is_told_with_its_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "mpiexec"
    broken.write_text("#!/bin/sh\necho 'There are not enough slots' >&2\nexit 213\n")
    broken.chmod(0o755)
    monkeypatch.setattr(mpi, "_mpiexec", lambda ranks: [str(broken)])
    with pytest.raises(MPIError, match=r"status 213:\nThere are not enough slots"):
        run_mpi(ring, inputs(2, 3))
