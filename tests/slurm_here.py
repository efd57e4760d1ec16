"""A real Slurm of two nodes, both on this machine, with daemons of their own in a temporary folder."""

from __future__ import annotations

import ctypes
import getpass
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CONF = """
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldLogFile={folder}/slurmctld.log
TmpFS={folder}/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
ReturnToService=2
MpiDefault=none
KillWait=2
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 RealMemory=1000
PartitionName=lab Nodes=ALL Default=YES State=UP MaxTime=60
"""


def free_ports() -> list[int]:
    import socket
    sockets = [socket.socket() for _ in range(20)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = sorted(s.getsockname()[1] for s in sockets)
    for s in sockets:
        s.close()
    return [ports[0], *next([p, p + 1] for p in ports[1:] if p + 1 not in ports)]


def daemon(*command: str, log: Path) -> subprocess.Popen[bytes]:
    """A daemon in the foreground that does not outlive the tests, however these end."""
    libc = ctypes.CDLL(None)
    with open(log, "wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                preexec_fn=lambda: libc.prctl(1, signal.SIGTERM))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool-node1", "spool-node2", "tmp-node1", "tmp-node2"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    host = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
    port, first, last = free_ports()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, port=port, first=first, last=last, user=getpass.getuser()))
    os.environ["SLURM_CONF"] = str(conf)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{path}:/usr/sbin:/sbin"
    daemons = []
    try:
        daemons.append(daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                              f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
                              log=folder / "munged.out"))
        daemons.append(daemon("slurmctld", "-D", "-f", str(conf), log=folder / "slurmctld.out"))
        daemons += [daemon("slurmd", "-D", "-N", f"node{n}", "-f", str(conf), log=folder / f"slurmd{n}.out") for n in (1, 2)]
        # Blocks until both nodes are up and have run something.
        ready = subprocess.run(["srun", "--nodes=2", "--ntasks=2", "--immediate=60", "true"], capture_output=True, text=True, timeout=90)
        if ready.returncode:
            logs = "\n".join(p.read_text(errors="replace")[-1500:] for p in sorted(folder.glob("*.out")))
            pytest.fail(f"the Slurm of the tests does not start: {ready.stderr}\n{logs}")
        yield folder
    finally:
        for process in reversed(daemons):
            process.terminate()
        for process in reversed(daemons):
            process.wait(30)
        os.environ.pop("SLURM_CONF")
        os.environ["PATH"] = path
