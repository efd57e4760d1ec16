"""The corpus of cheats and of honest but unusual answers: each is judged through real workers, jailed and, where it can hold, not.

A file in tests/cheats/ begins with a header, as those in labs/*/wrong do:

    # exercise: total               of the small course in tests/tiny, or of `# lab: …` in the course itself
    # outcome: wrong, tampered      one of these
    # shows: budget is 64 MB        part of message, hint or notes; may be empty
    # why: class of fault
    # score: 0, 1                   one of these; where the line is missing: 0. Right but slow earns `correct`, and no more
    # needs: jail                   holds only there
    # marks: chaos, slow            run only with these
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import TINY, use_course

from hpml.referee.judge import judge
from hpml.referee.resources import LabReferee
from hpml.verdict import Verdict

FOLDER = Path(__file__).parent / "cheats"
HONEST = "def double(x):\n    return x + x"


@dataclass(frozen=True)
class Answer:
    path: Path
    header: dict[str, str]

    def words(self, key: str, default: str = "") -> list[str]:
        return [w.strip() for w in self.header.get(key, default).split(",") if w.strip()]

    @property
    def source(self) -> str:
        """Without the header, which would not be there in a student's cell."""
        return re.sub(r"\A(#.*\n)+", "", self.path.read_text(encoding="utf-8"), count=1)


def read(path: Path) -> Answer:
    header = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.match(r"# (exercise|lab|outcome|shows|why|score|needs|marks): ?(.*)$", line)
        if not found:
            break
        header[found[1]] = found[2].strip()
    return Answer(path, header)


def corpus(folder: Path) -> list[object]:
    answers = [read(p) for p in sorted(folder.glob("*.py"))]
    return [pytest.param(a, id=a.path.stem, marks=[getattr(pytest.mark, m) for m in a.words("marks")]) for a in answers]


@pytest.fixture(scope="module")
def referees(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LabReferee]]:
    """Referees of the small course and, when asked for, of the course itself; one for all answers."""
    with ExitStack() as stack:
        class Kept(dict[str, LabReferee]):
            def __missing__(self, lab: str) -> LabReferee:
                root = TINY if lab == "01-tiny" else Path(__file__).parent.parent
                with pytest.MonkeyPatch.context() as patch, use_course(root, tmp_path_factory.mktemp("cache"), patch):
                    referee = LabReferee(lab, "grade")
                    referee.backend = backend
                    self[lab] = referee
                    stack.callback(referee.close)
                return referee
        with pytest.MonkeyPatch.context() as patch, use_course(TINY, tmp_path_factory.mktemp("cache"), patch):
            yield Kept()


def judged(referee: LabReferee, answer: Answer) -> Verdict:
    name = answer.header["exercise"]
    return judge(referee, referee.source.answers | {name: answer.source}, [name])[0]


def said(verdict: Verdict) -> str:
    return "\n".join([verdict.message, verdict.hint or "", *verdict.notes])


@pytest.mark.parametrize("answer", corpus(FOLDER))
def test_cheating_does_not_pay(answer: Answer, referees: dict[str, LabReferee], backend: str) -> None:
    if answer.header.get("needs") == "jail" and backend == "none":
        pytest.skip("this holds in a jail only")
    lab = answer.header.get("lab", "01-tiny")
    verdict = judged(referees[lab], answer)
    assert str(verdict.outcome) in answer.words("outcome"), said(verdict)
    assert verdict.score in [float(w) for w in answer.words("score", "0")], (verdict.score, said(verdict))
    assert answer.header.get("shows", "") in said(verdict), said(verdict)
    assert not verdict.outcome.pending
    after = judge(referees["01-tiny"], {"double": HONEST}, ["double"])[0]           # the referee lives on
    assert after.passed, said(after)


@pytest.mark.parametrize("answer", corpus(FOLDER / "honest"))
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_honest_answers_earn_full_marks(answer: Answer, referees: dict[str, LabReferee]) -> None:
    verdict = judged(referees["01-tiny"], answer)
    assert verdict.passed and verdict.score == verdict.max_score, said(verdict) + verdict.output


def test_every_answer_says_what_it_is() -> None:
    for path in sorted(FOLDER.rglob("*.py")):
        header = read(path).header
        wanted = {"exercise", "outcome", "why"} | (set() if path.parent.name == "honest" else {"shows"})
        assert wanted <= header.keys() and header["why"], path.name
    assert len(list((FOLDER / "honest").glob("*.py"))) >= 20
