"""The machine card: what this machine can do, measured once and kept. Every prediction in a lab starts from it.

    from hpml import machine
    machine.card()              measured in about 4 seconds the first time, read from a file afterwards
    machine()                   the same

The peak is that of a large float32 matrix product, not the datasheet's; the bandwidth is that of copying arrays much larger than
the last cache, counted as bytes read + bytes written (write-allocate traffic is not counted), as in McCalpin's STREAM.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from hpml import gpu, theme
from hpml.gpu import Gpu

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

TUNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS")     # orders to the matrix library
QUIET = 0.85        # share of its cores' time that a measurement must have had


class MachineError(Exception):
    """The machine could not be measured; the message says what to do."""


class Machine(BaseModel):
    """One machine's card. GFLOP/s = 10^9 floating-point operations a second, float32; GB/s = 10^9 bytes read + written a second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: PositiveInt                  # usable by this process: affinity mask and container quota
    caches: dict[str, int]              # bytes of one instance, by level
    memory: PositiveInt                 # bytes usable
    gpus: tuple[str, ...]
    blas: str
    python: str
    numpy: str
    gemm_one: PositiveFloat             # GFLOP/s on one thread
    gemm_all: PositiveFloat             # GFLOP/s on all usable cores
    gemm_n: tuple[int, int]             # size n of the n×n product, one thread and all
    copy_one: PositiveFloat             # GB/s
    copy_all: PositiveFloat
    add_one: PositiveFloat
    add_all: PositiveFloat
    array_bytes: PositiveInt            # size of each array of the bandwidth measurement
    python_call_ns: float
    numpy_call_ns: float
    gpu: Gpu | None = None              # what the first GPU can do, where the framework can use one
    gpu_nodes: int = 0                  # GPUs whose device files are here
    link: tuple[float, float] | None = None     # α (seconds) and β (seconds a byte) between two ranks, where they have been measured
    quiet: bool                         # False: other programs took a good part of the cores meanwhile
    date: str

    @property
    def machine_class(self) -> str:
        """`gpu` where one is seen, else `cpu`."""
        return "gpu" if self.gpus else "cpu"

    def gemm_gflops(self, threads: int = 1) -> float:
        """Matrix peak, GFLOP/s: that of one thread for 1, else that of all cores."""
        return self.gemm_one if threads <= 1 else self.gemm_all

    def bandwidth_gbs(self, threads: int = 1) -> float:
        """Memory bandwidth, GB/s: the better of copy and add, on one thread for 1, else on all cores."""
        return max(self.copy_one, self.add_one) if threads <= 1 else max(self.copy_all, self.add_all)

    def ridge(self, threads: int = 1) -> float:
        """Ridge point, FLOP per byte: from this intensity on the arithmetic and no longer the memory is the limit."""
        return self.gemm_gflops(threads) / self.bandwidth_gbs(threads)

    def attainable(self, intensity: float, threads: int = 1) -> float:
        """The roofline min(peak, intensity × bandwidth) in GFLOP/s, `intensity` in FLOP per byte of memory traffic.

        Williams, Waterman & Patterson, "Roofline: an insightful visual performance model", CACM 2009. Raises ValueError for an
        intensity that is not positive.
        """
        if not intensity > 0:
            raise ValueError(f"the intensity is FLOP per byte and positive; this is {intensity!r}")
        return min(self.gemm_gflops(threads), intensity * self.bandwidth_gbs(threads))

    def gpu_lines(self) -> list[str]:
        """What the GPU can do, in words."""
        if self.gpu is None:
            return ["The framework that is installed here cannot use the GPU: ./course doctor"] if self.gpu_nodes else []
        g = self.gpu
        return [f"{g.name}, through Keras on {g.backend}: float32 product of {g.gemm_n}×{g.gemm_n} {theme.number(g.gemm)} GFLOP/s, "
                f"bfloat16 {theme.number(g.gemm_half)}; memory {theme.number(g.copy_gbs)} GB/s; "
                f"one more small operation {g.launch_us:.1f} µs, a number back on the host {g.round_trip_us:.0f} µs."]

    def rows(self) -> list[tuple[str, str, str]]:
        """What is measured: name, value on one thread, value on all cores."""
        n, m = self.gemm_n
        size = f"{n}×{n}" if n == m else f"{n}×{n}; {m}×{m}"
        return [
            (f"float32 matrix product, {size}", f"{theme.number(self.gemm_one)} GFLOP/s", f"{theme.number(self.gemm_all)} GFLOP/s"),
            ("copy a = b", f"{theme.number(self.copy_one)} GB/s", f"{theme.number(self.copy_all)} GB/s"),
            ("add a = b + c", f"{theme.number(self.add_one)} GB/s", f"{theme.number(self.add_all)} GB/s"),
            ("ridge point", f"{theme.number(self.ridge())} FLOP/byte", f"{theme.number(self.ridge(2))} FLOP/byte"),
            ("call of an empty Python function", f"{self.python_call_ns:.0f} ns", ""),
            ("NumPy addition of one number", f"{self.numpy_call_ns:.0f} ns", ""),
        ]

    def headline(self) -> str:
        return f"{self.cpu}, {self.cores} core{'s' if self.cores > 1 else ''}, {theme.size(self.memory)} memory"

    def fine_print(self) -> list[str]:
        caches = ", ".join(f"{level} {count / 1024:g} KiB" if count < 1 << 20 else f"{level} {count / (1 << 20):g} MiB"
                           for level, count in self.caches.items())
        return [
            f"Caches: {caches or 'unknown'}. GPUs: {'; '.join(self.gpus) or 'none seen'}.",
            *self.gpu_lines(),
            f"{self.blas}; NumPy {self.numpy}, Python {self.python}; measured {self.date}.",
            f"Bandwidth: float64 arrays of {self.array_bytes / (1 << 20):.0f} MiB each, bytes read + bytes written.",
            *([] if self.link is None else [f"Between two ranks, through MPI: α {1e6 * self.link[0]:.2g} µs a message, "
                                            f"then {theme.number(1e-9 / self.link[1])} GB/s."]),
            *([] if self.quiet else ["Other programs were computing meanwhile, so this machine can do more. "
                                     "Close them, then: ./course machine --refresh"]),
        ]

    def __str__(self) -> str:
        lines = [self.headline(), f"{'':36}{'one thread':>16}{'all ' + str(self.cores) + ' cores':>18}"]
        lines += [f"{name:36}{one:>16}{every:>18}".rstrip() for name, one, every in self.rows()]
        return "\n".join([*lines, *self.fine_print()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        body = "".join(f"<tr><th scope='row'>{theme.escape(name)}</th><td>{theme.escape(one)}</td><td>{theme.escape(every)}</td></tr>"
                       for name, one, every in self.rows())
        small = "<br>".join(map(theme.escape, self.fine_print()))
        return (f"<div class='hpml hpml-card'><style>{theme.css()}</style><p class='hpml-head'><strong>{theme.escape(self.headline())}"
                f"</strong></p><table><thead><tr><td></td><th scope='col'>one thread</th><th scope='col'>all {self.cores} cores</th></tr>"
                f"</thead><tbody>{body}</tbody></table><p class='hpml-small'>{small}</p></div>")


# ------------------------------------------------------------------------------------------------- what stands in the box


def _output(*command: str) -> str:
    """What a command prints, "" where there is no such command or it fails: then the machine lacks what it tells about."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _file(path: str | Path) -> str:
    """The text of a small system file, "" where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def cpu() -> str:
    """The processor's name."""
    for line in _file("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use: its affinity mask, and the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _file("/sys/fs/cgroup/cpu.max").partition(" ")
    return max(1, min(count, math.ceil(int(quota) / int(period)))) if quota.isdigit() and period.isdigit() else count


def caches() -> dict[str, int]:
    """Bytes of one cache of each level, as the first core sees them."""
    found: dict[str, int] = {}
    for entry in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, amount = _file(entry / "type"), _file(entry / "size")
        if kind != "Instruction" and amount[:-1].isdigit():
            scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(amount[-1], 1)
            found["L" + _file(entry / "level") + ("d" if kind == "Data" else "")] = int(amount[:-1]) * scale
    if not found:
        sizes = {name: _output("sysctl", "-n", key) for name, key in (("L1d", "hw.l1dcachesize"), ("L2", "hw.l2cachesize"))}
        found = {name: int(text) for name, text in sizes.items() if text.isdigit()}
    return found


def memory() -> int:
    """Bytes of memory: the machine's, or the container's limit where that is less."""
    limit = _file("/sys/fs/cgroup/memory.max")
    total = int(psutil.virtual_memory().total)
    return min(total, int(limit)) if limit.isdigit() else total


def gpus() -> tuple[str, ...]:
    """NVIDIA GPUs, with their memory."""
    lines = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _key() -> dict[str, Any]:
    """What a kept measurement is good for."""
    return {"cpu": cpu(), "cores": cores(), "memory": memory(), "python": platform.python_version(),
            "gpu_nodes": len(gpu.present()), "numpy": importlib.metadata.version("numpy")}


# ------------------------------------------------------------------------------------------------------------- the card


def _probe(threads: int, array_bytes: int) -> dict[str, Any]:
    """Run probe.py on so many threads."""
    limits = {name: str(threads) for name in THREAD_LIMITS}
    command = [sys.executable, "-I", str(Path(__file__).with_name("probe.py")), str(threads), str(array_bytes)]
    try:
        done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise MachineError("Measuring this machine took more than two minutes. Is it busy? Try again: ./course machine --refresh") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise MachineError(f"This machine could not be measured: {last}. Free some memory and try again: ./course machine --refresh")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _quietest(threads: int, array_bytes: int) -> dict[str, Any]:
    """One measurement, or the better values of two where others were computing during the first."""
    first = _probe(threads, array_bytes)
    if first["share"] >= QUIET:
        return first
    second = _probe(threads, array_bytes)
    return {name: (min if name in ("python", "numpy") else max)(value, second[name]) for name, value in first.items()}


def measure() -> Machine:
    """Measure this machine now. Raises MachineError."""
    key, levels = _key(), caches()
    room = min(key["memory"], int(psutil.virtual_memory().available)) // 16
    array_bytes = max(8 << 20, min(max(64 << 20, 4 * max(levels.values(), default=0)), room, 1 << 30))
    one = _quietest(1, array_bytes)
    every = _quietest(key["cores"], array_bytes) if key["cores"] > 1 else one
    return Machine(
        **key, caches=levels, gpus=gpus(), gpu=gpu.measure(), blas=one["blas"],
        gemm_one=one["gemm"], gemm_all=every["gemm"], gemm_n=(int(one["n"]), int(every["n"])),
        copy_one=one["copy"], copy_all=every["copy"], add_one=one["add"], add_all=every["add"], array_bytes=array_bytes,
        python_call_ns=one["python"], numpy_call_ns=one["numpy"],
        quiet=min(one["share"], every["share"]) >= QUIET, date=datetime.date.today().isoformat())


def path() -> Path:
    """Where the card is kept: `$HPML_CACHE/machine.json`, else ~/.cache/hpml/machine.json; a file of its own for each tuning."""
    tuned = "".join("-" + re.sub(r"\W", "", os.environ[name]) for name in TUNING if name in os.environ)
    return Path(os.environ.get("HPML_CACHE") or Path.home() / ".cache" / "hpml") / f"machine{tuned}.json"


def _kept() -> Machine | None:
    """The card in the file, if it can be read and is this machine's."""
    try:
        found = Machine.model_validate_json(path().read_bytes())
    except (OSError, ValidationError):
        return None                                              # none yet, damaged, or of another version: measure again
    return found if found.model_dump(include=set(_key())) == _key() else None


def card(refresh: bool = False) -> Machine:
    """This machine's card, from the file, or measured where there is none, it is another machine's, or `refresh` asks for it."""
    found = None if refresh else _kept()
    if found is None:
        found, file = measure(), path()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_name(f"{file.name}.{os.getpid()}")
            fresh.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
            fresh.replace(file)
        except OSError as e:
            warnings.warn(f"The machine card could not be kept in {file} ({e.strerror}); it is measured again next time. "
                          "Set HPML_CACHE to a folder of yours.", stacklevel=2)
    return found.model_copy(update={"link": _link()})


def _link() -> tuple[float, float] | None:
    """α and β as a lab or `hpml.distributed.fit.links()` has kept them; measuring them takes an MPI and seconds, so not here."""
    from hpml.distributed import fit  # not above: it stands higher than this module
    found = fit.kept()
    return (found.alpha, found.beta) if found and found.beta > 0 else None


def main(argv: list[str] | None = None) -> int:
    """`hpml machine`: print the card. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="hpml machine", description="What this machine can do: cores, matrix peak, memory bandwidth.",
                                     epilog="example: hpml machine --refresh")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--refresh", action="store_true", help="measure again (about 4 seconds)")
    try:
        wanted = parser.parse_args(argv)
    except SystemExit as e:                                      # argparse has said what is wrong, or shown the help
        return int(e.code or 0)
    try:
        found = card(wanted.refresh)
    except MachineError as e:
        print(e, file=sys.stderr)
        return 1
    print(json.dumps({**found.model_dump(mode="json"), "machine_class": found.machine_class}, indent=1) if wanted.json else found)
    return 0


class _Callable(types.ModuleType):
    """Lets `hpml.machine()` be `hpml.machine.card()`."""

    def __call__(self, refresh: bool = False) -> Machine:
        return card(refresh)


sys.modules[__name__].__class__ = _Callable
