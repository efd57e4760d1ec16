"""The queue for checks that another machine measures: `check(…, where="gpu")` on a hub (hpml/hub/checks.py is its door).

It hands what students ask to an engine of grading (local, Dask, Slurm), first come, first served. Sources come in, verdicts go out:
inputs, oracle and clock are the referee's on the node, as in grading, and what a student sends is run in a jail there, nowhere else.
The engine is started by the first check, and ends when nobody has asked for a while: a node that nobody uses goes back to the cluster.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hpml import course
from hpml.course import CourseError, Lab
from hpml.grade import jobs as work
from hpml.grade.jobs import Engine, Fault, Job, Stopped
from hpml.verdict import Verdict

MOST_WAITING = 500              # checks, of everybody
RATE, RATE_SECONDS = 12, 600.0  # checks of one person in so many seconds
IDLE_SECONDS = 600.0            # without a check, after which the engine gives its nodes back


class Refused(Exception):
    """The queue does not take this check; the message says why."""


@dataclass(eq=False)
class Ticket:
    """One check in the queue."""

    person: str
    lab: Lab
    exercises: list[str]
    jobs: list[Job]
    verdicts: list[Verdict] | None = None
    error: str | None = None
    withdrawn: bool = False


class Queue:
    """Checks in the order of arrival, at most one of each person at a time, `at_once` on the engine. Close it.

    start      makes the engine; called when it is needed
    clock      seconds, for the rate
    """

    def __init__(self, start: Callable[[], Engine], at_once: int = 1, idle: float = IDLE_SECONDS,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.start, self.idle, self.clock = start, idle, clock
        self.waiting: deque[Ticket] = deque()
        self.handed: list[Ticket] = []
        self.recent: dict[str, deque[float]] = {}
        self.engine: Engine | None = None
        self.engines = threading.Lock()                     # held while one is started or ended, which takes seconds
        self.closed = False
        self.changed = threading.Condition()                # guards waiting, handed, recent, closed; never held for long
        self.hands = [threading.Thread(target=self._work, name=f"queue-{i}", daemon=True) for i in range(at_once)]
        for hand in self.hands:
            hand.start()

    def put(self, person: str, lab: str, cells: dict[str, str], exercises: list[str]) -> Ticket:
        """Into the line. Raises Refused or CourseError."""
        found = course.load().lab(lab)
        for name in exercises:
            if name not in found.exercises or found.exercises[name].kind == "manual":
                raise CourseError(f"{found.lab} has no exercise {name!r} that can be checked"
                                  + course.nearest(name, [n for n, e in found.exercises.items() if e.kind != "manual"]))
        answers = {name: source for name, source in cells.items() if name in found.exercises}
        jobs = work.split(Job(person, answers, exercises, found.lab), work.alone(found))
        ticket = Ticket(person, found, exercises, jobs)
        with self.changed:
            if any(t.person == person for t in self.handed + list(self.waiting)):
                raise Refused("You have a check in the GPU queue already, or one that you took back is just ending. One at a time: "
                              "wait for it, or interrupt the kernel where it waits.")
            if len(self.waiting) >= MOST_WAITING:
                raise Refused(f"{MOST_WAITING} checks are in the GPU queue; it takes no more now. Try again later.")
            now, times = self.clock(), self.recent.setdefault(person, deque(maxlen=RATE))
            if len(times) == RATE and (left := RATE_SECONDS - (now - times[0])) > 0:
                raise Refused(f"You sent {RATE} checks to the GPU queue within {RATE_SECONDS / 60:g} minutes, and others want it too. The "
                              f"next one is possible in {math.ceil(left / 60)} min.")
            times.append(now)
            self.waiting.append(ticket)
            self.changed.notify()
        return ticket

    def before(self, ticket: Ticket) -> int:
        """How many checks are before this one; 0 for one that the engine has."""
        with self.changed:
            return len(self.handed) + self.waiting.index(ticket) if ticket in self.waiting else 0

    def nodes(self) -> bool:
        """Whether the engine has somewhere to compute."""
        found = self.engine
        return found is not None and bool(getattr(found, "there", True))

    def withdraw(self, ticket: Ticket) -> None:
        """Out of the line; where the engine has it, it is asked to give it back, and what is being measured is measured to its end."""
        with self.changed:
            if ticket in self.waiting:
                self.waiting.remove(ticket)
                return
            ticket.withdrawn = True
            found = self.engine if ticket in self.handed else None
        if (withdraw := getattr(found, "withdraw", None)) is not None:
            withdraw(ticket.person)

    def close(self) -> None:
        """End everything; whoever waits is told."""
        with self.changed:
            self.closed = True
            for ticket in (*self.waiting, *self.handed):
                ticket.error = "The GPU queue was stopped; run the check again later."
            self.waiting.clear()
            self.changed.notify_all()
        with self.engines:
            self._end()
        for hand in self.hands:
            hand.join()

    # ------------------------------------------------------------------------------------------------------------ the working hands

    def _work(self) -> None:
        while (ticket := self._next()) is not None:
            verdicts, error = None, None
            try:
                verdicts = self._judged(ticket)
            except (CourseError, Fault) as e:
                error = f"The GPU queue could not check it: {e} This is not your fault, and nothing is lost."
            except Exception:                               # the queue outlives whatever goes wrong with one check
                logging.exception("hpml queue: a check failed")
                error = "The GPU queue failed at this check. This is not your fault, and nothing is lost; tell your instructor."
            with self.changed:                              # who hears of the end may ask again at once
                self.handed.remove(ticket)
                ticket.verdicts, ticket.error = verdicts, ticket.error or error

    def _next(self) -> Ticket | None:
        while True:
            with self.changed:
                if not self.waiting and not self.closed:
                    self.changed.wait(self.idle)
                if self.closed:
                    return None
                if self.waiting:
                    self.handed.append(ticket := self.waiting.popleft())
                    return ticket
            with self.engines:                              # nobody asked for a while
                if not self._busy():
                    self._end()

    def _busy(self) -> bool:
        with self.changed:
            return bool(self.handed)

    def _judged(self, ticket: Ticket) -> list[Verdict]:
        with self.engines:
            if self.engine is None:
                self.engine = self.start()
            found = self.engine
        verdicts: dict[str, Verdict] = {}
        try:
            for job in ticket.jobs:
                if ticket.withdrawn:
                    raise Fault("It was taken back.")
                for _, said in work.run(found, ticket.lab, [job]):
                    verdicts |= {v.exercise: v for v in said if isinstance(v, Verdict)}
        except Stopped:
            with self.engines:
                if self.engine is found and not ticket.withdrawn:       # its scheduler is gone: the next check starts another
                    self._end()
            raise
        return [verdicts[name] for name in ticket.exercises]

    def _end(self) -> None:
        """End the engine. The caller holds `engines`."""
        found, self.engine = self.engine, None
        if found:
            found.close()
