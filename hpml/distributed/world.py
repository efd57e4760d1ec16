"""The meeting point of Horovod's ranks: who is in the world, and what each rank must find in its environment.

`horovodrun` imports a framework and looks around the machine before it starts anything. Here the ranks are started directly on
Horovod's own rendezvous server (Gloo), which costs milliseconds; they may be subprocesses, forked warm ranks or Slurm tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from horovod.runner.http.http_server import RendezvousHTTPServer

# An earlier run's or an outer launcher's world must not leak into a new one.
OURS = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE", "HOROVOD_CROSS_RANK", "HOROVOD_CROSS_SIZE",
        "HOROVOD_HOSTNAME", "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT", "HOROVOD_CONTROLLER",
        "HOROVOD_CPU_OPERATIONS", "HOROVOD_GLOO_IFACE", "HPML_RANK", "HPML_RANKS")


class Rendezvous:
    """Horovod's rendezvous server for one world of `size` ranks; open it with `with`, or with `start()` and `stop()`.

    A world serves one run: ranks that were killed leave their addresses in it, so the next run takes a new one.

    Args:
        size: number of ranks, 1 or more.
        hosts: (name, number of ranks) of every node, in the order of ranks; default: all ranks on this machine.
        address: the address that the server binds to and that ranks connect to; default: this machine's loopback.
        interface: network interface of the ranks' own connections; "" leaves it to each rank (nodes may name theirs differently).

    Raises:
        ValueError: if `size` is below 1, or `hosts` do not hold exactly `size` ranks.
    """

    def __init__(self, size: int, *, hosts: Iterable[tuple[str, int]] | None = None, address: str = "127.0.0.1", interface: str = "lo"):
        if size < 1:
            raise ValueError(f"a world needs at least one rank, not {size}")
        self.size, self.address, self.interface = size, address, interface
        self.hosts = [("localhost", size)] if hosts is None else list(hosts)
        if (places := sum(n for _, n in self.hosts)) != size:
            raise ValueError(f"the hosts hold {places} ranks, the world has {size}")
        from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
        self._slots: list[Any] = get_host_assignments([HostInfo(name, n) for name, n in self.hosts], size)
        self.port = 0                                   # of the server; another machine's may be filled in
        self._server: RendezvousHTTPServer | None = None

    def start(self) -> Rendezvous:
        from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

        # Not RendezvousServer.start(): that listens on every interface and tries random ports until one is free.
        self._server = RendezvousHTTPServer((self.address, 0), RendezvousHandler, 0)
        self._server.daemon_threads = True              # a rank that died in the middle of a request must not hold up stop()
        self._server.init(self._slots)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True, name="rendezvous").start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server, self.port = None, 0

    def __enter__(self) -> Rendezvous:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def environment(self, rank: int) -> dict[str, str]:
        """What rank `rank` needs in its environment before `hvd.init()`; the server must be running."""
        if not self.port:
            raise RuntimeError("the rendezvous is not running: use `with Rendezvous(size) as world:`")
        if not 0 <= rank < self.size:
            raise ValueError(f"rank {rank} is not in 0 … {self.size - 1}")
        slot = self._slots[rank]
        found = {"HOROVOD_RANK": rank, "HOROVOD_SIZE": self.size, "HOROVOD_LOCAL_RANK": slot.local_rank,
                 "HOROVOD_LOCAL_SIZE": slot.local_size, "HOROVOD_CROSS_RANK": slot.cross_rank, "HOROVOD_CROSS_SIZE": slot.cross_size,
                 "HOROVOD_HOSTNAME": slot.hostname, "HOROVOD_GLOO_RENDEZVOUS_ADDR": self.address,
                 "HOROVOD_GLOO_RENDEZVOUS_PORT": self.port, "HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo",
                 "HPML_RANK": rank, "HPML_RANKS": self.size}
        if self.interface:
            found["HOROVOD_GLOO_IFACE"] = self.interface
        return {name: str(value) for name, value in found.items()}
