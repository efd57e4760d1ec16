import json
import os
import subprocess
import sys

import pytest

from hpml.distributed import Rendezvous

RANK = """
import json, sys, numpy as np, horovod.tensorflow as hvd
hvd.init()
total = hvd.allreduce(np.full(3, hvd.rank() + 1, np.float32), op=hvd.Sum).numpy().tolist()
print(json.dumps([hvd.rank(), hvd.size(), hvd.local_rank(), hvd.cross_rank(), hvd.cross_size(), total]))
hvd.shutdown()
"""


def run(world: Rendezvous) -> list[list]:
    ranks = [subprocess.Popen([sys.executable, "-c", RANK], env=os.environ | world.environment(r), stdout=subprocess.PIPE, text=True)
             for r in range(world.size)]
    return [json.loads(p.communicate(timeout=120)[0].splitlines()[-1]) for p in ranks]


@pytest.mark.slow
def test_ranks_meet_and_add() -> None:
    with Rendezvous(2) as world:
        assert run(world) == [[r, 2, r, 0, 1, [3.0] * 3] for r in range(2)]
    with Rendezvous(2, hosts=[("a", 1), ("b", 1)]) as world:
        assert run(world) == [[r, 2, 0, r, 2, [3.0] * 3] for r in range(2)]


def test_environment_of_two_nodes() -> None:
    with Rendezvous(3, hosts=[("a", 2), ("b", 1)], interface="") as world:
        names, port = [world.environment(r) for r in range(3)], world.port
    assert [[e[f"HOROVOD_{n}"] for n in ("RANK", "LOCAL_RANK", "LOCAL_SIZE", "CROSS_RANK", "CROSS_SIZE", "HOSTNAME")] for e in names] == [
        ["0", "0", "2", "0", "2", "a"], ["1", "1", "2", "0", "1", "a"], ["2", "0", "1", "1", "2", "b"]]
    assert all(e["HPML_RANKS"] == e["HOROVOD_SIZE"] == "3" and "HOROVOD_GLOO_IFACE" not in e for e in names)
    assert int(names[0]["HOROVOD_GLOO_RENDEZVOUS_PORT"]) == port > 0


def test_worlds_do_not_meet() -> None:
    with Rendezvous(2) as one, Rendezvous(2) as other:
        assert one.port != other.port
        assert one.environment(0)["HOROVOD_GLOO_IFACE"] == "lo"


def test_what_is_no_world() -> None:
    with pytest.raises(ValueError, match="at least one rank"):
        Rendezvous(0)
    with pytest.raises(ValueError, match="hold 3 ranks, the world has 2"):
        Rendezvous(2, hosts=[("a", 3)])
    with pytest.raises(RuntimeError, match="not running"):
        Rendezvous(2).environment(0)
    with Rendezvous(2) as world, pytest.raises(ValueError, match="rank 2 is not in"):
        world.environment(2)
