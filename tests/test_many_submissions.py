"""Five hundred submissions in one go: memory stays flat, the last ones take as long as the first, and the gradebook holds every one.

The judge is a stand-in that answers at once, so all that is counted is what grading itself does: reading, sanitising, gradebook,
notebook, feedback, journal.
"""

from __future__ import annotations

import csv
import json
import statistics
import time
from pathlib import Path

import psutil
import pytest

from hpml import course, grade
from hpml.build import notebook as made
from hpml.verdict import Outcome, Verdict

LAB, NUMBER, MEGABYTE = "01-tiny", 500, 1 << 20


def outcome(student: int, exercise: int) -> Outcome:
    """Another pattern for each student, known beforehand."""
    return (Outcome.PASS, Outcome.WRONG, Outcome.NOT_ATTEMPTED, Outcome.TIMEOUT)[(student // 4 ** (exercise % 3) + exercise) % 4]


class Watched:
    """A judge that notes, whenever it is asked, how much processor time and memory this process has used."""

    def __init__(self, lab: course.Lab) -> None:
        self.names = [n for n, e in lab.exercises.items() if e.kind != "manual"]
        self.lab = lab
        self.seconds: list[float] = []
        self.bytes: list[int] = []

    def expected(self, student: int, name: str) -> float:
        return self.lab.exercises[name].points if outcome(student, self.names.index(name)) is Outcome.PASS else 0.0

    def __call__(self, lab: str, cells: dict[str, str], exercises: list[str]) -> list[Verdict]:
        self.seconds.append(time.process_time())
        self.bytes.append(psutil.Process().memory_info().rss)
        student = int(cells["double"].rsplit("#", 1)[1])
        return [Verdict(lab=lab, exercise=n, outcome=outcome(student, self.names.index(n)), score=self.expected(student, n),
                        max_score=self.lab.exercises[n].points, message="As told.", jail="bubblewrap") for n in exercises]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_class_of_five_hundred(tiny: course.Lab, tmp_path: Path) -> None:
    from nbgrader.api import Gradebook
    found = made.read(tiny)
    blank = json.dumps(made.student(made.solution(tiny, found)))
    for n in range(NUMBER):
        node = json.loads(blank)
        for cell in node["cells"]:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            cell["source"] = f"{found.answers[name]}\n#{n}" if name in found.answers else cell["source"]
        path = tmp_path / "submitted" / f"s{n:03d}" / LAB / f"{LAB}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(node))
    judge = Watched(tiny)
    assert grade.main([LAB, "--course", str(tmp_path)], judge) == 0
    assert len(judge.seconds) == NUMBER

    steps = [b - a for a, b in zip(judge.seconds[20:], judge.seconds[21:], strict=False)]       # after what is made once
    first, last = statistics.median(steps[:150]), statistics.median(steps[-150:])
    assert last < 1.5 * first, (first, last)
    grown = statistics.median(judge.bytes[-50:]) - statistics.median(judge.bytes[50:100])       # over 400 submissions
    assert grown < 24 * MEGABYTE, grown

    with open(tmp_path / "grades.csv", encoding="utf-8", newline="") as file:
        table = {line["student"]: line for line in csv.DictReader(file)}
    assert len(table) == NUMBER
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        scores = {(s.student.id, g.name.removeprefix("check-")): g.auto_score
                  for s in book.assignment_submissions(LAB) for g in s.notebooks[0].grades}
        assert book.average_assignment_score(LAB) == pytest.approx(
            sum(judge.expected(n, name) for n in range(NUMBER) for name in judge.names) / NUMBER)
    assert len(scores) == NUMBER * len(tiny.exercises)
    for n in range(NUMBER):
        line = table[f"s{n:03d}"]
        for name in judge.names:
            wanted = judge.expected(n, name)
            assert scores[f"s{n:03d}", name] == wanted == float(line["total (exercise)" if name == "total" else name]), (n, name)
    assert grade.main([LAB, "--course", str(tmp_path), "--student", "s499"], judge) == 0
    assert len(judge.seconds) == NUMBER                         # nothing is judged twice
    assert len(list(tmp_path.glob(f"feedback/*/{LAB}/{LAB}.html"))) == NUMBER
