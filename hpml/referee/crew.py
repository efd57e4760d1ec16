"""The worlds that one answer runs in: opened, loaded and kept by number of ranks, and closed together."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from hpml.exercise import Exercise
from hpml.referee.jail import Died, Keeper, WarmParent
from hpml.referee.oracle import OracleError
from hpml.referee.protocol import ProtocolError, TimedOut
from hpml.referee.simulated import Simulated
from hpml.referee.workers import Stubborn, Worker
from hpml.referee.worlds import OnRank, Together, Unfinished, World, rank_cores

if TYPE_CHECKING:
    from hpml.referee.resources import LabReferee

HOROVOD = ("horovod.tensorflow", "keras")       # imported in every rank of Horovod's, before the fork; no operation may run there


def parent(referee: LabReferee, declared: Exercise) -> WarmParent:
    """The warm parent of an exercise's ranks, started at first use; it may not be ready yet. Raises OracleError."""
    if declared.world == "horovod":
        return referee.parent((*HOROVOD, *(m for m in declared.preload if m not in (*HOROVOD, "tensorflow"))), wait=False)
    hidden = [library for library in declared.forbids if library not in declared.preload]
    return referee.parent(("numpy", *declared.preload), hidden, wait=False)


def named(ranks: list[int]) -> str:
    """rank 0 | ranks 0 and 2 | ranks 0, 1 and 5"""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"


class Crew:
    """Worlds of one exercise by their number of ranks, each loaded with the same cells. Close it: it owns processes.

    trusted    cells of the course's own, without a student's limits
    alone      Horovod's ranks each in a world of its own
    """

    def __init__(self, referee: LabReferee, declared: Exercise, cells: list[tuple[str, str]], function: str, *,
                 trusted: bool = False, alone: bool = False) -> None:
        self.referee, self.declared, self.cells, self.function = referee, declared, cells, function
        self.trusted, self.alone = trusted, alone
        self.worlds: dict[int, World] = {}
        self._workers: list[Worker] = []            # simulated ranks, which serve in worlds of any size
        self.last: World

    def world(self, ranks: int) -> World:
        """The world of so many ranks. Raises OracleError where it cannot be opened, OnRank or Unfinished where the cells fail."""
        if ranks not in self.worlds:
            self.worlds[ranks] = self.last = self._opened(ranks)
            self.last.load(self.cells, self.function, self.declared.seconds)
        self.last = self.worlds[ranks]
        return self.last

    def _opened(self, ranks: int) -> World:
        with ExitStack() as opened:
            try:
                warm = parent(self.referee, self.declared)
                if self.declared.world == "simulated":
                    loaded = len(self._workers)
                    workers = [opened.enter_context(self._worker(warm, ranks)) for _ in range(loaded, ranks)]
                    self._ready(workers)
                    self._workers += workers
                    world: World = Simulated(self._workers[:ranks], loaded)
                else:
                    keeper = warm.keeper()
                    opened.callback(keeper.close)
                    workers = [opened.enter_context(self._worker(keeper, ranks, rank)) for rank in range(ranks)]
                    self._ready(workers)
                    world = Together(workers, keeper, self.alone)
            except (Died, Stubborn, TimedOut, ProtocolError, OnRank, Unfinished, OSError) as e:
                for key in [key for key, kept in self.referee.parents.items() if kept.process.poll() is not None]:
                    self.referee.parents.pop(key).close()           # the next try starts a new one
                raise OracleError(f"the ranks, which are forked from a warm process, did not start: {e or type(e).__name__}.") from None
            opened.pop_all()
        return world

    def _worker(self, warm: WarmParent, ranks: int, rank: int = 0) -> Worker:
        from hpml.referee import resources
        together = isinstance(warm, Keeper)
        return Worker(self.referee.backend, cores=rank_cores(ranks)[rank] if together else self.referee.core, ranks=ranks, parent=warm,
                      memory=None if together or self.trusted else resources.STUDENT_MEMORY,
                      cpu_seconds=1 << 30 if self.trusted else resources.STUDENT_CPU_SECONDS,
                      lifetime=math.inf if self.trusted else resources.STUDENT_SECONDS)

    @staticmethod
    def _ready(workers: list[Worker]) -> None:
        for worker in workers:
            worker.wait_ready()

    def foreign(self) -> str | None:
        """A forbidden library that a rank has loaded."""
        allowed = {*self.declared.preload, *(("tensorflow",) if self.declared.world == "horovod" else ())}
        forbidden = [library for library in self.declared.forbids if library not in allowed]
        with suppress(Died):
            for worker in self.last.workers:
                mapped = worker.libraries()
                if found := next((library for library in forbidden if f"/{library}/" in mapped), None):
                    return found
        return None

    def printed(self) -> str:
        """What the ranks of the last world printed: once where all printed the same."""
        texts = [worker.printed() for worker in self.last.workers]
        if len(set(texts)) == 1:
            return texts[0]
        return "".join(f"rank {rank}:\n{text.rstrip()}\n" for rank, text in enumerate(texts) if text.strip())

    def close(self) -> None:
        for world in self.worlds.values():
            world.close()
        self.worlds.clear()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
