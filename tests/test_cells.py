import ast
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpml.referee.cells import Refused, assigns, clean, defines, prediction, predicts, same


def test_timing_magics_are_dropped_and_lines_keep_their_numbers() -> None:
    assert clean("%%time\nx = 1\n%timeit f()\n%time y = 2\nif x:\n    %matplotlib inline\n") == "\nx = 1\npass\ny = 2\nif x:\n    pass"
    assert clean("\n%%time\n%%capture\nx = 1") == "\n\n\nx = 1"
    with pytest.raises(Refused, match="Line 2, `%%time`"):
        clean("x = 1\n%%time")


@pytest.mark.parametrize(("source", "says"), [
    ("!ls", "Line 1, `!ls`, is a shell line"),
    ("x = 1\n%run other.py", "Line 2, `%run other.py`, is a magic"),
    ("%%bash\nls", "is a magic"),
    ("def f(:\n  pass", r"Python cannot read the cell: .* in line 1"),
    ("x = '\n", "unterminated"),
    ("\0", "null character"),
    ("x" * 300_000, "longer than"),
    ("(" * 5000, "cannot read"),
])
def test_what_is_refused_is_said_kindly(source: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        clean(source)


def test_text_that_looks_like_magic_is_text() -> None:
    assert clean('s = """\n!ls\n%run\n"""') == 's = """\n!ls\n%run\n"""'
    assert clean("x = 7 \\\n    - 2") == "x = 7 \\\n    - 2"


def test_a_long_text_like_magics_is_parsed_no_more_often_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ['s = """\n' + "% of\n" * lines + '"""' for lines in (2, 2000)]
    parsed: list[str] = []
    parse = ast.parse
    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", lambda source: (parsed.append(source), parse(source))[1])
        cleaned = [clean(text) for text in texts]
    assert cleaned == texts
    assert len(parsed) == 4, "once for what stands in strings, once for the syntax"


def test_an_untouched_cell_is_told_from_a_changed_one() -> None:
    stub = "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    assert same(stub, stub + "  \n\n") and same(stub, stub.replace("YOUR CODE HERE", "hm"))
    assert not same(stub, "def f(x):\n    return x")
    assert same("def f(:", "def f(:  ") and not same("def f(:", "def g(:")


def test_what_a_cell_defines() -> None:
    assert defines("import numpy\ndef f(x): return 1", "f") and defines("f = lambda x: x", "f") and defines("class f: pass", "f")
    assert not defines("def g():\n    def f(): pass", "f") and not defines("f(3)", "f")
    assert defines("def f(x:\n  syntax error", "f")
    assert predicts("predict('a', 3)", "a") and predicts('predict( "a", ...)', "a") and not predicts("predict('ab', 3)", "a")


def test_what_a_cell_makes() -> None:
    assert assigns("import numpy as np, os.path\na, (b, c) = f()\nfor i in x: pass\ndef g(): pass") == {"np", "os", "a", "b", "c", "i", "g"}
    assert assigns("def (") == set()


@given(st.text(max_size=200))
def test_any_text_is_cleaned_or_refused(source: str) -> None:
    with contextlib.suppress(Refused):
        assert isinstance(clean(source), str)


@pytest.mark.parametrize(("source", "number"), [
    ('predict("loss", 9)', 9.0), ('# about half\npredict("loss", -2.5)', -2.5), ("predict('loss', 1e3, 'a guess')", None),
    ('predict("gain", 9)', None), ('predict("loss", 3 * 4)', None), ('predict("loss", True)', None), ('predict("loss", ...)', None),
    ('predict("loss")', None), ('predict("loss", value=2)', None), ('x = 2\npredict("loss", x)', None), ('print("loss", 9)', None),
    ('predict("loss", ' + "9" * 400 + ")", None), ("(" * 300, None)])
def test_a_prediction_that_is_a_plain_number_is_read(source: str, number: float | None) -> None:
    assert prediction(source, "loss") == number
