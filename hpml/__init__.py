"""High Performance Machine Learning: a course that runs.

In a notebook: `hpml.lab("04-conv-gemm")`, `check("im2col")`, `predict("patch_expansion", ...)`, `hpml.machine()`, `hpml.measured()`.
Importing this package imports no framework.
"""

__version__ = "0.1.0"

from hpml import machine  # to be called: hpml.machine() is the machine card
from hpml.check import check, lab, measured, predict

__all__ = ["check", "lab", "machine", "measured", "predict"]
