"""What else computes on this machine, for the advice with a measurement that is too noisy."""

from __future__ import annotations

import contextlib
import os
import time

import psutil

WORTH_NAMING = 0.2          # of one core
LEAST_SECONDS = 0.5         # a share of less time than this says little: the kernel counts in hundredths


def _ours() -> set[int]:
    """This process and all below it: referee, oracle and workers."""
    me = psutil.Process()
    return {me.pid, *(child.pid for child in me.children(recursive=True))}


def _times() -> dict[psutil.Process, float]:
    """Processor seconds of every other process. A process is known by pid and start, so that a used pid is not taken for another."""
    ours, found = _ours(), {}
    for process in psutil.process_iter():
        if process.pid not in ours:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                found[process] = times.user + times.system
    return found


class Others:
    """The processor time that others take from the moment this is made."""

    def __init__(self) -> None:
        self.began, self.before, self.stolen = time.monotonic(), _times(), psutil.cpu_times().steal
        self.last = 0.0

    def shares(self) -> dict[psutil.Process, float]:
        """Cores used by each other process since then."""
        seconds = time.monotonic() - self.began
        return {process: (took - self.before.get(process, 0.0)) / seconds for process, took in _times().items()}

    def load(self) -> float:
        """Cores that all others together used since this was made or last asked; starts anew."""
        if time.monotonic() - self.began < LEAST_SECONDS:
            return self.last
        self.last = sum(self.shares().values())
        self.began, self.before, self.stolen = time.monotonic(), _times(), psutil.cpu_times().steal
        return self.last

    def busy(self) -> bool:
        return max(self.shares().values(), default=0.0) >= WORTH_NAMING

    def advice(self) -> str:
        """One sentence: what to close. Programs of other users are not named."""
        shares = self.shares()
        busiest = max(shares, key=lambda process: shares[process], default=None)
        if busiest is not None and shares[busiest] >= WORTH_NAMING:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                mine = busiest.uids().real == os.getuid()
                which = f"another program ({busiest.name()}, pid {busiest.pid})" if mine else "a program of another user"
                what = "close it and check again" if mine else "check again later"
                return f"The measurement is too noisy to decide: {which} uses {100 * shares[busiest]:.0f} % of a core: {what}."
        stolen = (psutil.cpu_times().steal - self.stolen) / (time.monotonic() - self.began)
        if stolen >= WORTH_NAMING:
            return (f"The measurement is too noisy to decide: the host of this virtual machine takes {100 * stolen:.0f} % of a core away: "
                    "check again later.")
        return "The measurement is too noisy to decide. Close other programs that compute, then check again."
