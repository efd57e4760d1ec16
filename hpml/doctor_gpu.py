"""What `hpml doctor` looks at where there is an NVIDIA GPU: driver, TensorFlow with CUDA, Horovod with NCCL.

`look` asks the machine, `rows` judges without touching it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

# The oldest driver that programs made with CUDA 12.x run on: CUDA's release notes, "minor version compatibility".
DRIVER = (525, 60, 13)
DOCUMENT = "docs/many-nodes.md"
ENVIRONMENT = f"make the GPU environment: {DOCUMENT}, \"GPUs\""
PROBE = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
found = {"cuda": str(tf.sysconfig.get_build_info().get("cuda_version", "")), "visible": len(tf.config.list_physical_devices("GPU"))}
try:
    import horovod.tensorflow as hvd
    found["nccl"] = bool(hvd.nccl_built())
except ImportError:
    pass
print(json.dumps(found))
"""

Row = tuple[str, str, str, str, str]    # name, what is seen ("" if it is missing), what does not work without it, command, reason


@dataclass(frozen=True)
class Seen:
    """What was seen on a machine with GPUs."""

    driver: str                         # "555.42.06"; "" where nvidia-smi does not tell
    cuda: str                           # that TensorFlow was built with, "12.5.1"; "" without
    visible: int                        # GPUs that TensorFlow can use
    nccl: bool                          # in Horovod
    library: str                        # NCCL for a build of Horovod, a path or a version; "" without
    conflict: bool = False              # tensorflow and tensorflow-cpu are both installed


def look(output: Callable[..., str], installed: Callable[[str], str | None]) -> Seen:
    """Ask nvidia-smi, the loader, and TensorFlow and Horovod in a process of their own (seconds). `output`: a command's, "" if it fails."""
    driver = output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").strip().splitlines()
    try:
        probe = json.loads((output(sys.executable, "-c", PROBE).strip().splitlines() or ["{}"])[-1])
    except ValueError:
        probe = {}
    system = re.search(r"libnccl\S* .*=> (\S+)", output("ldconfig", "-p"))
    wheel = installed("nvidia-nccl-cu12")
    return Seen(driver=driver[0].strip() if driver else "", cuda=probe.get("cuda", ""), visible=probe.get("visible", 0),
                nccl=probe.get("nccl", False), library=system[1] if system else f"nvidia-nccl-cu12 {wheel}" if wheel else "",
                conflict=bool(installed("tensorflow") and installed("tensorflow-cpu")))


def version(text: str) -> tuple[int, ...]:
    """The numbers of a dotted version."""
    return tuple(map(int, re.findall(r"\d+", text)))


def rows(gpus: tuple[str, ...], seen: Seen, install: Callable[[str, str], str]) -> list[Row]:
    """What is there and what is missing. `install`: the command for a Debian and a Fedora package."""
    new_enough = version(seen.driver)[:3] >= DRIVER
    least = ".".join(map(str, DRIVER))
    visible = f"CUDA {seen.cuda}, {seen.visible} GPU{'s' if seen.visible > 1 else ''}" if seen.cuda and seen.visible else ""
    if seen.conflict:
        visible = ""
    why = ("tensorflow and tensorflow-cpu are both installed" if seen.conflict else "it was built without CUDA" if not seen.cuda
           else "it has CUDA and sees no GPU")
    mend = ENVIRONMENT if seen.conflict or not seen.cuda else "update the driver; in a container: start it with --gpus all"
    return [
        ("GPU driver", seen.driver if new_enough else "", f"CUDA 12 needs {least} or newer",
         install("nvidia-driver", "akmod-nvidia") + ", or ask the administrator", seen.driver or "unknown"),
        ("TensorFlow on GPU", visible, f"the {len(gpus)} GPU{'s' if len(gpus) > 1 else ''} here stay idle", mend, why),
        ("NCCL", seen.library, "Horovod cannot be built for GPUs",
         install("libnccl2 libnccl-dev", "libnccl libnccl-devel libnccl-static") + "  (from NVIDIA's own package repository)", "not found"),
        ("Horovod on GPU", "with NCCL" if seen.nccl else "", "gradients travel through the processor's memory", ENVIRONMENT,
         "built without NCCL"),
    ]
