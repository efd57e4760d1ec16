"""GPUs: which there are, what one of them can do, who holds which, and what a jail must show of it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

WAIT_SECONDS = 300.0


class NoGPU(Exception):
    """There is no GPU here, or none came free; the message says which."""


def nodes() -> list[str]:
    """Device files that CUDA opens: the GPUs, their control, unified memory, and on Windows' Linux the bridge to the host's driver."""
    return sorted(path for pattern in ("/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dxg") for path in glob.glob(pattern)
                  if not os.path.isdir(path))


def present() -> list[int]:
    """Numbers of the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES where it is set."""
    found = sorted(int(m[1]) for path in glob.glob("/dev/nvidia*") if (m := re.fullmatch(r"/dev/nvidia(\d+)", path)))
    if not found and os.path.exists("/dev/dxg"):
        found = [0]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return found if allowed is None else [n for n in found if str(n) in allowed.split(",")]


def backend() -> str | None:
    """The Keras backend to compute with there: what KERAS_BACKEND says, else PyTorch or TensorFlow, whichever is installed."""
    if said := os.environ.get("KERAS_BACKEND"):
        return said
    return next((name for name in ("torch", "tensorflow") if importlib.util.find_spec(name)), None)


def environment(number: int | None) -> dict[str, str]:
    """What a worker is told: its one GPU, or none."""
    if number is None:
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {"CUDA_VISIBLE_DEVICES": str(number), "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "KERAS_BACKEND": backend() or "tensorflow",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class Gpu(BaseModel):
    """What one GPU can do, measured through Keras by probe_gpu.py. GFLOP/s = 10^9 floating-point operations a second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    backend: str                        # Keras backend that measured it
    gemm: PositiveFloat                 # GFLOP/s, float32 product of n×n matrices
    gemm_half: PositiveFloat            # the same in bfloat16
    gemm_n: PositiveInt
    copy_gbs: PositiveFloat             # GB/s read + written, y = x + 1 on 1 GiB
    launch_us: float                    # one small operation more, in a chain of them
    round_trip_us: float                # until the host has one number


def measure() -> Gpu | None:
    """The first GPU's figures; None where there is none, or where the framework that is installed cannot use it."""
    numbers, keras = present(), backend()
    if not numbers or keras is None:
        return None
    try:
        done = subprocess.run([sys.executable, "-I", str(Path(__file__).with_name("probe_gpu.py"))], capture_output=True, text=True,
                              timeout=180, env={**os.environ, **environment(numbers[0]), "TF_CPP_MIN_LOG_LEVEL": "3"})
        return Gpu.model_validate_json(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, IndexError, ValidationError):
        return None


class Claim:
    """One GPU, held by this process until it is closed: a lock on a file that every referee of the machine knows."""

    def __init__(self, wait: float = WAIT_SECONDS) -> None:
        numbers = present()
        if not numbers:
            raise NoGPU("there is no GPU on this machine")
        give_up = time.monotonic() + wait
        self.file: IO[bytes] | None = None
        while self.file is None:
            for number in numbers:
                if self._lock(number):
                    break
            else:
                if time.monotonic() > give_up:
                    raise NoGPU("every GPU of this machine is at work on another check; try again in a few minutes")
                time.sleep(0.2)

    def _lock(self, number: int) -> bool:
        path = Path(tempfile.gettempdir()) / f"hpml-gpu-{number}.lock"
        with contextlib.suppress(PermissionError):
            path.touch(0o666)
        file = path.open("rb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self.number, self.file = number, file
        return True

    def close(self) -> None:
        if self.file:
            self.file.close()
            self.file = None
