"""Many workers: Horovod for Keras 3, the rank launcher, and simulated ranks with an α–β clock.

Names are imported when they are first used, so that `import hpml.distributed` imports no framework.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "DistributedOptimizer": "optimizer", "load_model": "optimizer", "broadcast_variables": "collectives",
    "average_metrics": "collectives", "average_statistics": "collectives", "equal_steps": "collectives",
    "clear_failures": "collectives", "explain_failure": "collectives", "RankFailure": "collectives",
    "BroadcastGlobalVariablesCallback": "callbacks", "MetricAverageCallback": "callbacks", "LearningRateWarmupCallback": "callbacks",
    "LearningRateScheduleCallback": "callbacks", "RankZeroCheckpoint": "callbacks",
    "Rendezvous": "world", "launch": "launcher", "LaunchError": "ranks", "run_ranks": "warm",
    "report": "reporting", "progress": "reporting",
    "Link": "network", "Network": "network", "Switch": "network", "ring": "network", "tree": "network", "two_level": "network",
    "torus": "network", "switch": "network", "Topology": "network", "simulate": "simulation", "Deadlock": "simulation",
    "RankError": "simulation", "run_mpi": "mpi",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
