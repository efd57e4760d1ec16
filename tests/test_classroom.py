"""The class report, and what makes two answers near-identical."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_class import NAME, Class

from hpml.grade import classpage, classroom, similar
from hpml.grade.journal import Journal
from hpml.verdict import Outcome

ANSWER = '''
def total(x):
    """Sum of doubled values."""
    half = len(x) // 2
    first, second = double(x[:half]), double(x[half:])
    return np.concatenate([first, second]).sum(dtype=np.float32, keepdims=True)
'''
RENAMED = '''
def total(values):
    # my very own idea
    middle = len(values)//2
    a, b = double(values[:middle]), double(
        values[middle:])
    return np.concatenate([a, b]).sum(dtype=np.float32, keepdims=True)
'''
OTHER = '''
def total(x):
    result = np.zeros(1, np.float32)
    for block in np.array_split(x, max(1, len(x) // 4096)):
        result += np.dot(np.full(len(block), 2.0, np.float32), block)
    return result
'''


@pytest.fixture
def graded(room: Class, tmp_path_factory: pytest.TempPathFactory) -> Class:
    """Two copied and renamed, one thought for herself, one is wrong, one was stopped by a guard, one cannot be read."""
    def make() -> None:
        room.submit("ada", room.solved(total=ANSWER))
        room.submit("ben", room.solved(total=RENAMED))
        room.submit("cem", room.solved(total=OTHER + "# slow"))
        room.submit("dee", room.solved(double="def double(x): return 3 * x  # wrong"))
        room.submit("eve", room.solved(top="def top(x): return 0  # tampered <img src=x>", total="raise NotImplementedError()"))
        room.submit("fay", b"{not a notebook")

    room.once(tmp_path_factory.getbasetemp() / "classroom", make)
    return room


def read(room: Class) -> classroom.Report:
    return classroom.read(room.folder, room.lab)


def test_the_class_in_numbers(graded: Class) -> None:
    report = read(graded)
    assert report.scores == {"ada": 10, "ben": 10, "cem": 10, "dee": 8, "eve": 5, "fay": 0}
    assert list(report.unread) == ["fay"] and "stops being JSON" in report.unread["fay"]
    said = report.summary()
    assert (said["students"], said["max"], said["scores"]["quartiles"][1]) == (6, 11, 9)
    assert report.pending.keys() == {"ada", "ben", "cem", "dee", "eve"} and set(report.pending["ada"]) == {"why"}


def test_what_failed_most_and_why(graded: Class) -> None:
    troubles = {t.exercise: t for t in read(graded).troubles}
    assert [t.failed for t in read(graded).troubles[:2]] == [1, 1] and {t.exercise for t in read(graded).troubles[:2]} == {"double", "top"}
    assert troubles["double"].outcomes == {"pass": 4, "wrong": 1} and troubles["double"].mean == pytest.approx(0.8)
    assert troubles["double"].why == [("wrong: Think <b>again</b>.", 1)]
    assert troubles["total"].outcomes == {"pass": 4, "not attempted": 1} and troubles["why"].mean is None


def test_equal_reasons_are_equal_whatever_their_numbers(graded: Class) -> None:
    kept = Journal(graded.folder, graded.lab)
    entry = kept.load("ada", "double")
    assert entry
    one, other = (entry[1].model_copy(update={"outcome": Outcome.WRONG, "message": f"Expected {n}, got -{n}e-3. More."}) for n in (1.5, 22))
    assert classroom._reason(one) == classroom._reason(other) != classroom._reason(entry[1])


def test_speed_across_the_class(graded: Class) -> None:
    speed, = read(graded).speeds
    assert [(row[0], row[1]) for row in speed.rows] == [("cem", 3.0), ("ada", 30.0), ("ben", 30.0), ("dee", 30.0)]
    assert (speed.median, speed.reached, speed.full) == (30.0, 3, 20)


def test_a_guard_and_a_changed_file_are_flagged(graded: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    flag, = read(graded).flags
    assert (flag.student, flag.exercise) == ("eve", "top") and "stopped by a guard" in flag.what
    from hpml.referee import evidence
    path = graded.folder / "graded" / NAME / "ada" / "double.json"
    kept = Journal(graded.folder, graded.lab)
    entry = kept.load("ada", "double")
    assert entry
    signed = evidence.sign(entry[1])
    path.write_text(json.dumps({"key": entry[0], "verdict": signed.model_dump(mode="json")}))
    assert len(read(graded).flags) == 1
    path.write_text(json.dumps({"key": entry[0], "verdict": signed.model_copy(update={"score": 99.0}).model_dump(mode="json")}))
    assert [f.student for f in read(graded).flags] == ["ada", "eve"]


def test_machines_and_their_controls(graded: Class) -> None:
    computer, = read(graded).computers
    assert computer.name == "a machine, 2 cores" and len(computer.controls) == 4 and computer.jails == ["bubblewrap"]
    assert classpage.control(computer) == "4: median 1.010, 1.010 to 1.010 (1 is right)"


def test_the_page_needs_nothing_and_takes_nothing_from_anybody(graded: Class, tmp_path: Path) -> None:
    to = tmp_path / "report.html"
    assert classroom.main([NAME, "--course", str(graded.folder), "--html", str(to)]) == 0
    page = to.read_text()
    for bad in ("<script", "<img", "src=\"", "url(http", "48151623", "<b>again"):
        assert bad not in page, bad
    assert page.count("<svg") == 2 and "default-src 'none'" in page
    for said in ("hints, not proofs", "median", "Could not be read", "near-identical", "a machine, 2 cores", "stopped by a guard"):
        assert said in page, said


def test_on_the_terminal_and_as_json(graded: Class, capsys: pytest.CaptureFixture[str]) -> None:
    assert classroom.main([NAME, "--course", str(graded.folder)]) == 0
    said = capsys.readouterr().out
    assert "6 students" in said and "To look at: hints, no proofs" in said and "fay: The notebook is damaged" in said
    assert classroom.main([NAME, "--course", str(graded.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["speeds"][0]["full_credit"] == 3 and [(p["one"], p["other"]) for p in found["alike"]] == [("ada", "ben")]


def test_nothing_graded_is_said(room: Class, capsys: pytest.CaptureFixture[str]) -> None:
    assert classroom.main([NAME, "--course", str(room.folder)]) == 2
    assert "is graded" in capsys.readouterr().err


def test_one_student_is_a_class(room: Class) -> None:
    room.submit("ada", room.solved())
    assert room.grade() == 0
    assert "of 1 student<" in classpage.html(read(room)) and not read(room).pairs


# --------------------------------------------------------------------------------------------------------------- similarity


def test_copies_are_found_and_own_work_is_not(graded: Class) -> None:
    pair, = read(graded).pairs
    assert (pair.one, pair.other, pair.exercises[0], pair.share) == ("ada", "ben", "total", 1)


def test_names_comments_and_layout_do_not_matter() -> None:
    assert similar.prints(similar.code(ANSWER)) == similar.prints(similar.code(RENAMED))
    assert not similar.prints(similar.code(ANSWER)) & similar.prints(similar.code(OTHER))


def test_what_was_handed_out_says_nothing() -> None:
    mine = {"total": ANSWER}
    given = similar.prints(similar.code(ANSWER))
    both = {s: similar.of(mine) for s in ("ada", "ben")}
    assert similar.pairs(both, set()) and not similar.pairs(both, given)


def test_what_many_wrote_says_nothing() -> None:
    def crowd(n: int) -> dict[str, set[similar.Print]]:
        sums = ["+".join(f"x[{i * 100 + k}]" for k in range(40)) for i in range(20)]
        others = {f"s{i}": similar.of({"total": f"def total(x): return {said}"}) for i, said in enumerate(sums)}
        return others | {f"t{i}": similar.of({"total": ANSWER}) for i in range(n)}
    assert len(similar.pairs(crowd(3), set())) == 3 and not similar.pairs(crowd(15), set())


def test_a_text_that_was_copied_is_found() -> None:
    text = "The patch matrix is written once and read once, so the traffic grows nine times while the arithmetic stays the same."
    own = "Nothing of what I measured fits the prediction, because my cache is larger than the matrix, and the product never waits."
    found = similar.pairs({s: similar.of({"why": t}, ["why"]) for s, t in (("ada", text), ("ben", text.upper()), ("cem", own))}, set())
    assert [(p.one, p.other) for p in found] == [("ada", "ben")]


@pytest.mark.parametrize("source", ["", "def f(:", "'''", "\ud800", "x = (" * 400, "\tif x:\n  y", "\0"])
def test_no_source_is_too_odd(source: str) -> None:
    assert isinstance(similar.of({"total": source}), set)


def test_a_large_class_is_compared_in_reasonable_steps() -> None:
    """500 students with the same few solutions: the common ones are left out before anybody is compared."""
    answers = [ANSWER, OTHER, RENAMED + "    # x", ANSWER.replace("//", "/")]
    crowd = {f"s{i}": similar.of({"total": answers[i % 4]}) for i in range(500)}
    assert similar.pairs(crowd, set()) == []
