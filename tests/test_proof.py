"""The box of evidence: everything is in it, as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from hpml import proof
from hpml.verdict import Measured, Outcome, Verdict

PAIRS = Measured(target="speedup", versus="six_loops", start=20, full=200, ratio=400, low=390, high=410, credit=1,
                 samples=[(1e-6, 4e-4), (2e-6, 9e-4)])


def verdict(**changes: object) -> Verdict:
    values = {"lab": "04-conv-gemm", "exercise": "conv_gemm", "outcome": Outcome.PASS, "score": 6, "max_score": 6, "message": ""}
    return Verdict.model_validate({**values, **changes})


def test_sources_stand_one_a_block_and_are_escaped() -> None:
    source = "def f(x):\n    return x < 1 and '</pre><script>'\n"
    root = ET.fromstring(proof.html(verdict(evidence={"cells": {"im2col": "import numpy", "f": source}})))
    assert [block.text for block in root.iter("pre")] == ["import numpy", source]
    assert [name.text for name in root.iter("code")] == ["im2col", "f"] and not list(root.iter("script"))


def test_the_rest_is_a_list() -> None:
    kept = {"source_sha256": "ab12", "versions": {"numpy": "2.0"}, "control": {"ratio": 0.98765}}
    root = ET.fromstring(proof.html(verdict(evidence=kept)))
    found = {str(name.text): value.text for name, value in zip(root.iter("dt"), root.iter("dd"), strict=True)}
    assert found == {"source sha256": "ab12", "versions": "numpy 2.0", "control": "ratio 0.9877"}


def test_every_pair_is_there() -> None:
    shown = "".join(ET.fromstring(proof.html(verdict(measured=[PAIRS]))).itertext())
    assert "the six loops" in shown and re.search(r"1 +1\.0 +400\.0 +400\n +2 +2\.0 +900\.0 +450$", shown)


def test_no_evidence_no_box() -> None:
    assert proof.html(verdict()) == ""
