"""A class graded by a real Slurm of two nodes, with the referee itself on them."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

import pytest
from slurm_here import cluster  # noqa: F401

from hpml import course, grade
from hpml.grade import demo, engine
from hpml.referee import jail

EXACT = ("guess", "double", "top", "frugal", "why")         # how fast this machine is just now does not belong in it


@pytest.mark.slurm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_class_on_two_nodes(cluster: Path, tiny: course.Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    students, folder = demo.make_class(tiny), tmp_path / "course"
    demo.make_course(tiny, folder, students)
    options = ["--unjailed"] if jail.bubblewrap_problem() else []
    grade.main([tiny.lab, "--course", str(folder), "--engine", "slurm", "--no-execute", *options])
    said = capsys.readouterr()
    assert "Dask's dashboard" in said.err and "6/6" in said.err, said.err
    with open(folder / "grades.csv", encoding="utf-8", newline="") as file:
        table = {row["student"]: row for row in csv.DictReader(file)}
    for student in students:
        for name in EXACT:
            score = student.expected[name][1]
            assert table[student.name][name] == ("" if score is None else f"{score:g}"), (student.name, name, table[student.name])
    jobs = subprocess.run(["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True, check=True).stdout.splitlines()
    nodes = [found[1] for line in jobs if "JobName=hpml-grade" in line and (found := re.search(r" NodeList=(\S+)", line))]
    assert {"node1", "node2"} <= set(nodes)


def test_without_slurm(tiny: course.Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(course.CourseError, match="there is no Slurm here"):
        engine.start("slurm")
