import pytest

from hpml import course
from hpml.course import CourseError, parse

REAL = (course.ROOT / "course.yml").read_text()


def test_the_real_manifest_lists_twenty_labs_in_four_parts() -> None:
    found = course.load()
    assert len(found.labs) == 20 and len(found.parts) == 4
    assert [lab.lab[:2] for lab in found.labs] == [f"{n:02}" for n in range(1, 21)]
    assert "04-conv-gemm" in [lab.lab for lab in found.ready()]


@pytest.mark.parametrize(("good", "bad", "says"), [
    ("rubric:", "rubrik:", "unknown key 'rubrik' (did you mean 'rubric'?)"),
    ("full: 200", "fulll: 200", "unknown key 'fulll' (did you mean 'full'?)"),
    ("minutes: 60", "minuts: 60", "unknown key 'minuts' (did you mean 'minutes'?)"),
    ("title: High", "titel: High", "unknown key 'titel' (did you mean 'title'?)"),
    ("kind: manual", "kind: manuel", "kind: Input should be 'code', 'predict' or 'manual'"),
    ("start: 20, full: 200", "start: 300, full: 200", "full (200) must be larger than start (300)"),
    ("peak_mb: 64", "peak_mb: 6", "greater than or equal to 64"),
    ("needs: [01-measuring]", "needs: [01-mesuring]", "did you mean '01-measuring'?"),
    ("lab: 03-features", "lab: 02-neuron", "lab 02-neuron is listed twice"),
])
def test_a_mistake_names_its_line_and_the_nearest_good_key(good: str, bad: str, says: str) -> None:
    assert good in REAL
    text = REAL.replace(good, bad, 1)
    with pytest.raises(CourseError) as error:
        parse(text)
    assert says in str(error.value)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if bad in row)
    named = int(str(error.value).split(says)[0].rsplit("course.yml:", 1)[1].split(":")[0])
    assert abs(named - line) <= 5, error.value           # a rule about a whole lab names the line where the lab begins


def test_a_second_equal_key_is_not_swallowed() -> None:
    with pytest.raises(CourseError, match=r"course.yml:\d+: the key 'jail' stands here a second time"):
        parse(REAL.replace("jail: auto", "jail: auto\njail: none", 1))


@pytest.mark.parametrize("text", ["", "- a\n", "title: [", "title: 3\tx: :", "labs: {}"])
def test_rubbish_is_one_clear_error(text: str) -> None:
    with pytest.raises(CourseError, match="course.yml:"):
        parse(text)


def test_labs_are_found_by_beginning_and_by_notebook() -> None:
    found = course.load()
    assert found.lab("4") is found.lab("04") is found.lab("notebooks/04-conv-gemm/04-conv-gemm.ipynb") is found.lab("04-conv-gemm")
    with pytest.raises(CourseError, match="did you mean '04-conv-gemm'"):
        found.lab("conv-gem")
    with pytest.raises(CourseError, match="planned"):
        found.lab("20-capstone")
    with pytest.raises(CourseError):
        found.lab("")


def test_points_of_targets(tiny: course.Lab) -> None:
    assert tiny.exercises["total"].correct_points == 1
    assert tiny.exercises["double"].correct_points == 2
    assert tiny.points == 11
